"""A conversation as tokens, in which no text that somebody wrote can be one of the model's own signs.

The chat template is rendered with a stand-in for each text. Special tokens are read only between the stand-ins, in what
the template itself writes; everything else, the texts put back in, is encoded as plain letters.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer

from swarm.bundle.policy import Message
from swarm.errors import ModelError, UsageError

# For models without a template. Lines of one text that follow its first are indented: none of them can look like the
# next message.
_PLAIN = "{% for message in messages %}{{ message.role | capitalize }}: {{ message.content }}\n\n{% endfor %}Assistant:"
_PLAIN_STOP = ("\nUser:", "\nSystem:")


class Prompting:
    """Of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._plain = _without_signs(getattr(tokenizer, "backend_tokenizer", None))
        self._signs = {str(token): number for number, token in tokenizer.added_tokens_decoder.items()}
        self._template = bool(tokenizer.chat_template)

    @property
    def stop(self) -> tuple[str, ...]:
        """What ends an answer beside the model's own end."""
        return () if self._template else _PLAIN_STOP

    def chat(self, messages: Sequence[Message]) -> list[int]:
        """The conversation up to where the assistant speaks. For a template without a system role that message is the
        beginning of the user's first. Raises UsageError when the template refuses the conversation.
        """
        try:
            return self._chat(messages)
        except UsageError:
            if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
                raise
        first = Message("user", f"{messages[0].text}\n\n{messages[1].text}")
        return self._chat([first, *messages[2:]])

    def _chat(self, messages: Sequence[Message]) -> list[int]:
        mark = secrets.token_hex(16)  # nobody who writes a text can know it
        marked = [{"role": item.role, "content": f"{mark}{at}-"} for at, item in enumerate(messages)]
        texts = {f"{mark}{at}-": self._shown(item.text) for at, item in enumerate(messages)}
        return list(self._encoded(self._rendered(marked), mark, texts))

    def text(self, text: str) -> list[int]:
        """A text to go on from; an empty one begins as texts in training do."""
        begin = self._tokenizer.bos_token_id
        adds = begin is not None and self._tokenizer("")["input_ids"][:1] == [begin]
        ids = [*[begin] * adds, *self._letters(text)]
        return ids or [begin if begin is not None else self._tokenizer.eos_token_id]

    def _shown(self, text: str) -> str:
        return text if self._template else text.replace("\r", "\n").replace("\n", "\n  ")

    def _rendered(self, marked: list[dict[str, str]]) -> str:
        template = None if self._template else _PLAIN
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    marked, tokenize=False, add_generation_prompt=True, chat_template=template
                )
            )
        except (TemplateError, ValueError, TypeError) as error:
            raise UsageError(
                f"This model's chat template does not take these messages: {error}",
                "Most want one system message at the start, then user and assistant in turns.",
            ) from error

    def _encoded(self, rendered: str, mark: str, texts: dict[str, str]) -> Iterator[int]:
        """Signs are looked for before the texts are put back."""
        signs = sorted(self._signs, key=len, reverse=True)
        parts = re.split(f"({'|'.join(map(re.escape, signs))})", rendered) if signs else [rendered]
        for part in parts:
            if part in self._signs:
                yield self._signs[part]
            else:
                yield from self._letters(re.sub(rf"{mark}\d+-", lambda found: texts.get(found[0], ""), part))

    def _letters(self, text: str) -> list[int]:
        """Raises UsageError in the rare case that letters alone are a sign for this tokenizer."""
        ids = list(self._plain.encode(text, add_special_tokens=False).ids) if text else []
        if not set(self._signs.values()).isdisjoint(ids):
            raise UsageError("The text holds a sign of the model's own.", "Leave out what looks like <s> or <|end|>.")
        return ids


def _without_signs(tokenizer: Tokenizer | None) -> Tokenizer:
    """The same tokenizer, to which special tokens are letters like others."""
    if tokenizer is None:
        raise ModelError("The bundle has no tokenizer.json.", "Its publisher must save it with a fast tokenizer.")
    try:
        said = json.loads(tokenizer.to_str())
        return Tokenizer.from_str(json.dumps({**said, "added_tokens": [], "post_processor": None}))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ModelError(f"The tokenizer cannot be read: {error}", "Get the bundle again.") from error
