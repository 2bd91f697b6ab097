"""An Ollama Modelfile for a GGUF file of a bundle: prompt template, system prompt and limits.

Source: https://github.com/ollama/ollama/blob/main/docs/modelfile.mdx. Ollama's templates are Go's, and those of
tokenizers are Jinja's: ours is found by rendering a conversation whose texts are known, and looking what stands around
them. What caps say beyond that, Ollama cannot hold to; the model card says them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from peer.model import load_tokenizer
from swarm.bundle.caps import Caps
from swarm.tensorfile import atomic_write

FILE = "Modelfile"
_SYSTEM, _USER, _ANSWER = "\x02system\x02", "\x02user\x02", "\x02answer\x02"
_PLAIN = "{{ if .System }}{{ .System }}\n\n{{ end }}{{ .Prompt }}"

Messages = list[dict[str, str]]
Render = Callable[[Messages, bool], str]  # a conversation, and whether an answer is asked for at its end


@dataclass(frozen=True)
class Template:
    """How a prompt is put: Go's text/template, and the texts that end an answer."""

    text: str
    stops: tuple[str, ...] = ()


def write(folder: Path, gguf: str, caps: Caps) -> None:
    """Write `Modelfile` to the model's `folder` for the file `gguf` (a path within it). Raises ModelError, OSError."""
    tokenizer = load_tokenizer(folder)
    with atomic_write(folder / FILE) as file:
        file.write(modelfile(gguf, caps, template_of(tokenizer)).encode())


def modelfile(gguf: str, caps: Caps, template: Template) -> str:
    """The file's text; the same for the same values. Pure."""
    lines = [f"FROM ./{gguf}", f"TEMPLATE {_quoted(template.text)}"]
    if caps.system_prompt:
        lines.append(f"SYSTEM {_quoted(caps.system_prompt)}")
    lines.append(f"PARAMETER num_ctx {caps.prompt_tokens + caps.answer_tokens}")
    lines.append(f"PARAMETER num_predict {caps.answer_tokens}")
    lines += [f"PARAMETER stop {_quoted(stop)}" for stop in template.stops]
    return "\n".join(lines) + "\n"


def template_of(tokenizer: Any) -> Template:
    """From a tokenizer's chat template; without one, or with one that Go's cannot say, the prompt as it is."""
    if not tokenizer.chat_template:
        return Template(_PLAIN)

    def render(messages: Messages, asked: bool) -> str:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asked))

    begins = tokenizer.bos_token if tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id] else ""
    return template(render, begins) or Template(_PLAIN)


def template(render: Render, begins: str = "") -> Template | None:
    """What stands around the texts of a conversation; None when it is not the same each time. Pure.

    `begins` is put before every prompt by who runs the model, and so is left out.
    """
    system, user = {"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}
    try:
        alone = render([user], True).removeprefix(begins)
        both = render([system, user], True).removeprefix(begins)
        answered = render([user, {"role": "assistant", "content": _ANSWER}], False).removeprefix(begins)
    except (jinja2.TemplateError, ValueError, TypeError):
        return None
    if not both.endswith(alone) or _SYSTEM not in both or not answered.startswith(f"{alone}{_ANSWER}"):
        return None
    before, after = both.removesuffix(alone).split(_SYSTEM)
    first, last = alone.split(_USER)
    end = answered.removeprefix(f"{alone}{_ANSWER}")
    said = f"{{{{ if .System }}}}{_literal(before)}{{{{ .System }}}}{_literal(after)}{{{{ end }}}}"
    asked = f"{_literal(first)}{{{{ .Prompt }}}}{_literal(last)}{{{{ .Response }}}}{_literal(end)}"
    return Template(said + asked, (end.strip(),) if end.strip() else ())


def _literal(text: str) -> str:
    """`text` as a template says it."""
    return text.replace("{{", '{{ "{{" }}')


def _quoted(text: str) -> str:
    """In three quotes, which a Modelfile knows no way to write within."""
    inner = text.replace('"""', "'''")
    return f'"""{inner}"""'
