"""Documents become token ids that say what is learned, chats by the tokenizer's own template."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import AddedToken

from peer.encoding import encode, plain_ids, require_chat_template
from peer.formats import Document, Piece, plain
from peer.tokenizer import END, byte_level
from swarm.errors import DataError

TURNS = "{% for m in messages %}<|im|>{{ m.role }}\n{{ m.content }}<|im|>\n{% endfor %}"
ASKS = "{% if add_generation_prompt %}<|im|>assistant\n{% endif %}"
MARKED = (
    "{% for m in messages %}<|im|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im|>"
    "{% endgeneration %}{% else %}{{ m.content }}<|im|>{% endif %}{% endfor %}"
)
CHAT = Document(
    "a.jsonl, line 7",
    "",
    messages=(
        {"role": "user", "content": "Hello ä?"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "Über uns."},
    ),
)


def tokenizer(template: str | None = None) -> Any:
    made = byte_level(257, ())
    made.add_tokens([AddedToken("<|im|>", special=True)], special_tokens=True)
    made.chat_template = template
    return made


def learned(document: Document, template: str | None = None, whole: bool = True) -> tuple[str, list[str]]:
    """What is read, and the runs of what is learned."""
    made = tokenizer(template)
    [tokens] = encode([document], made, whole)
    runs: list[list[int]] = [[]]
    for token in tokens.tolist():
        if token >= 0:
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    return made.decode(plain_ids(tokens).tolist()), [made.decode(run) for run in runs if run]


def test_a_text_is_learned_but_for_its_first_token_where_it_stands_alone() -> None:
    assert learned(plain("abc", "")) == (f"abc{END}", [f"bc{END}"])
    assert learned(plain("abc", ""), whole=False) == (f"abc{END}", [f"abc{END}"])


def test_only_the_answer_and_the_end_are_learned() -> None:
    document = Document("", "", (Piece(f"2+2={END} ", False), Piece("4", True)))
    assert learned(document) == (f"2+2={END} 4{END}", [f"4{END}"])
    [tokens] = encode([document], tokenizer(), True)
    assert (plain_ids(tokens) == tokenizer().eos_token_id).sum() == 1  # what spells the end is only text


def test_a_beginning_of_its_own_stands_before_whole_documents_only() -> None:
    made = tokenizer()
    made.add_special_tokens({"bos_token": "<|begin|>"})
    [alone], [stream] = encode([plain("ab", "")], made, True), encode([plain("ab", "")], made, False)
    assert made.decode(plain_ids(alone).tolist()) == f"<|begin|>ab{END}"
    assert alone[0] < 0 <= alone[1:].min()
    assert made.decode(stream.tolist()) == f"ab{END}"


@pytest.mark.parametrize(
    ("template", "answers"),
    [(TURNS + ASKS, ["Hello.<|im|>\n", "Über uns.<|im|>\n"]), (MARKED, ["Hello.<|im|>", "Über uns.<|im|>"])],
)
def test_of_a_chat_only_answers_are_learned(template: str, answers: list[str]) -> None:
    text, found = learned(CHAT, template)
    assert found == answers
    assert text.startswith("<|im|>user\nHello ä?<|im|>")


def test_a_template_that_rewrites_the_past_is_refused() -> None:
    last_only = TURNS.replace("{{ m.content }}", "{% if loop.last or m.role == 'user' %}{{ m.content }}{% endif %}")
    with pytest.raises(DataError, match=r"a\.jsonl, line 7: .* cannot be told from the rest"):
        learned(CHAT, last_only + ASKS)


def test_what_a_template_refuses_is_named() -> None:
    with pytest.raises(DataError, match=r"a\.jsonl, line 7: the chat template refuses these messages: no"):
        learned(CHAT, "{{ raise_exception('no') }}")


def test_a_tokenizer_without_a_chat_template_is_refused() -> None:
    require_chat_template(tokenizer(TURNS))
    with pytest.raises(DataError, match="chat template") as caught:
        require_chat_template(tokenizer())
    assert "model.tokenizer" in caught.value.remedy
