"""One answer within the caps, with an engine that writes what a test wants: loops of calls, words split over them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import pytest

from peer.serving.answering import Answering, Ask, Call, End, Event, TooLongError
from peer.serving.engine import Sampling
from peer.serving.plugins import Plugins
from peer.serving.sandbox import Unconfined
from peer.tokenizer import byte_level
from swarm.bundle.caps import Caps, Filter, Plugin
from swarm.bundle.policy import CALLS, Message, Policy
from swarm.errors import NotFoundError

CALL = '<tool_call>{"name": "it", "arguments": {"x": "y"}}</tool_call>'
MIRROR = b"import json, sys\nprint(json.dumps(json.load(sys.stdin)['arguments']['x'][::-1]))\n"
TOKENIZER = byte_level(257, ())


class Writer:
    """An engine that writes one text after the other, the last one again and again."""

    name = "writer"
    context = 100_000

    def __init__(self, *texts: str) -> None:
        self.prompts: list[str] = []
        self._texts = texts

    def tokens(self, prompt: Sequence[int], sampling: Sampling, personality: str) -> Generator[int, None, None]:
        text = self._texts[min(len(self.prompts), len(self._texts) - 1)]
        self.prompts.append(TOKENIZER.decode(list(prompt)))
        yield from TOKENIZER(text)["input_ids"][: sampling.tokens]

    def close(self) -> None:
        """Nothing to give back."""


def answering(writer: Writer, **caps: Any) -> Answering:
    plugin = Plugin(name="it", file="plugins/it.py", description="mirrors", parameters={"x": "what"})
    filters = (Filter(topic="weapons", pattern="bomb"),)
    policy = Policy(Caps(plugins=(plugin,), filters=filters, **caps))
    plugins = Plugins({"it": plugin}, {"it": MIRROR}, {}, Unconfined())
    return Answering(policy, writer, TOKENIZER, plugins, ())


def said(events: list[Event]) -> tuple[str, list[Call], End]:
    """Text, calls, end."""
    assert isinstance(events[-1], End)
    text = "".join(event for event in events if isinstance(event, str))
    return text, [event for event in events if isinstance(event, Call)], events[-1]


def answered(writer: Writer, ask: Ask | None = None, **caps: Any) -> tuple[str, list[Call], End]:
    return said(list(answering(writer, **caps).answer(ask or asked("Hi"))))


def asked(text: str, tokens: int = 0, **more: Any) -> Ask:
    return Ask((Message("user", text),), Sampling(tokens), **more)


def test_calls_end_some_time() -> None:
    writer = Writer(f"Well. {CALL}")
    text, calls, end = answered(writer, answer_tokens=5000)
    assert calls == [Call("it", True)] * CALLS
    assert len(writer.prompts) == CALLS + 1
    assert text == "Well. " * (CALLS + 1) + CALL
    assert end.reason == "stop"


def test_all_turns_together_are_one_answer() -> None:
    _, calls, end = answered(Writer(f"Well. {CALL}"), answer_tokens=150)
    assert (len(calls), end.written, end.reason) == (2, 150, "length")
    assert answered(Writer("word " * 100), asked("Hi", 7))[2].written == 7


def test_the_result_reaches_the_model_and_the_call_nobody() -> None:
    writer = Writer(f"Let me see. {CALL} and more", "It is y.")
    text, calls, _ = answered(writer)
    assert (text, calls) == ("Let me see. It is y.", [Call("it", True)])
    assert '<tool_response>"y"</tool_response>' in writer.prompts[1]
    assert "it(x: what): mirrors" in writer.prompts[0]


def test_a_word_split_by_a_call_does_not_come_through() -> None:
    text, _, end = answered(Writer(f"a bo{CALL}", "mb."))
    assert "mb" not in text
    assert (text[-24:], end.reason) == ("I cannot help with that.", "content_filter")


def test_neither_in_arguments_nor_out_of_a_result() -> None:
    for argument in ('"a bomb"', '"a \\u0062omb"', '["a", {"b": "bomb"}]'):
        _, calls, end = answered(Writer(CALL.replace('"y"', argument)))
        assert (calls, end.reason) == ([], "content_filter"), "arguments are part of the answer"
    writer = Writer(CALL.replace('"y"', '"bmob a"'), "Hm.")
    text, calls, _ = answered(writer)
    assert (text, calls) == ("Hm.", [Call("it", False)]), "what the plugin said is not what the model reads"
    assert "a bomb" not in writer.prompts[1]
    assert "weapons" in writer.prompts[1]


def test_calls_that_are_none() -> None:
    for wrong in ("nonsense", '{"name": "rm", "arguments": {}}', '{"name": "it", "arguments": {"z": 1}}', "[" * 500):
        writer = Writer(f"<tool_call>{wrong}</tool_call>", "Sorry.")
        text, calls, _ = answered(writer)
        assert (text, [call.ok for call in calls]) == ("Sorry.", [False])
        assert "There is no such call" in writer.prompts[1]
    assert answered(Writer("An <tool_call> that never ends"))[0] == "An <tool_call> that never ends"


def test_without_plugins_a_call_is_text() -> None:
    assert answered(Writer(CALL), asked("Hi", plugins=frozenset()))[:2] == (CALL, [])


def test_a_text_to_go_on_from_cannot_get_round_the_system_prompt() -> None:
    free, bound = Writer("x"), Writer("x")
    answered(free, asked("Once", raw=True))
    answered(bound, asked("Once", raw=True), system_prompt="Be kind.")
    assert free.prompts == ["Once"]
    assert bound.prompts == ["System: Be kind.\n\nUser: Once\n\nAssistant:"]
    text, _, end = answered(Writer("mb!"), asked("a bo", raw=True))
    assert (text, end.reason) == ("I cannot help with that.", "content_filter")


def test_what_is_refused_is_refused_at_once() -> None:
    made = answering(Writer("x"), prompt_tokens=100)
    with pytest.raises(TooLongError, match="takes 100"):
        made.answer(asked("word " * 100))
    with pytest.raises(NotFoundError, match="personality"):
        made.answer(asked("Hi", personality="grim"))
    assert said(list(made.answer(asked("a bomb"))))[0] == "I cannot help with that."


def test_a_stop_may_come_in_pieces() -> None:
    ask = Ask((Message("user", "Hi"),), Sampling(0, stop=("END",)))
    assert answered(Writer("One. END Two."), ask)[0] == "One. "
    assert answered(Writer("One. EN"), ask)[0] == "One. EN"
