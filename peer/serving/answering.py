"""An answer of a bundle's model, piece by piece, within its caps. Everything that answers goes through here."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from peer.serving.calling import Calls
from peer.serving.engine import Engine, Sampling
from peer.serving.plugins import Plugins, as_called, described
from peer.serving.prompting import Prompting
from peer.serving.speech import Stops, pieces
from swarm.bundle.filters import Sieve, topic_in
from swarm.bundle.policy import CALLS, Message, Policy
from swarm.errors import NotFoundError, UsageError

Reason = Literal["stop", "length", "content_filter"]


class TooLongError(UsageError):
    """The conversation has more tokens than the model takes, or than its caps allow."""


@dataclass(frozen=True)
class Ask:
    """What is asked. `sampling.tokens` of 0 means as many as the caps give; `plugins`: the names of those that the
    model may call, None for all; `raw`: the only message is a text to go on from, without a conversation around it.
    """

    messages: tuple[Message, ...]
    sampling: Sampling
    personality: str = ""
    plugins: frozenset[str] | None = None
    raw: bool = False


@dataclass(frozen=True)
class Call:
    """A plugin was called."""

    name: str
    ok: bool


@dataclass(frozen=True)
class End:
    """Why the answer ended, and the tokens that it took: prompts of all turns, and what the model wrote."""

    reason: Reason
    prompt: int
    written: int


Event = str | Call | End  # pieces of text, perhaps empty ones; calls; at last the end


@dataclass
class Answer:
    """What one answer took so far."""

    sieve: Sieve
    left: int  # tokens that may be written
    stops: Stops = field(default_factory=lambda: Stops(()))
    calls: Calls = field(default_factory=lambda: Calls(False))
    prompt: int = 0
    written: int = 0
    said: str = ""  # in this turn, calls included


class Answering:
    """Of one bundle."""

    def __init__(
        self, policy: Policy, engine: Engine, tokenizer: Any, plugins: Plugins, personalities: Sequence[str]
    ) -> None:
        self.policy = policy
        self.engine = engine
        self.personalities = tuple(personalities)
        self.plugins = plugins
        self._tokenizer = tokenizer
        self._prompting = Prompting(tokenizer)

    def answer(self, ask: Ask) -> Generator[Event, None, None]:
        """Checked before it returns; closing it ends the work. Raises NotFoundError for an unknown
        personality, TooLongError, UsageError.
        """
        if ask.personality and ask.personality not in self.personalities:
            known = ", ".join(self.personalities) or "none"
            raise NotFoundError(f"There is no personality {ask.personality!r}.", f"There are: {known}.")
        if self.policy.refused(ask.messages):
            return self._refusal()
        turns = self.turns(ask)
        prompt = self._prompt(turns, ask)
        room = self.policy.room(len(prompt), ask.sampling.tokens or None, self.engine.context)
        if room.why:
            raise TooLongError(room.why, "Begin a new conversation, or shorten it.")
        sieve = Sieve(self.policy.bans("answered"), _before(ask))
        return self._turns(turns, prompt, ask, Answer(sieve, room.answer))

    def _refusal(self) -> Generator[Event, None, None]:
        yield self.policy.caps.refusal
        yield End("content_filter", 0, 0)

    def turns(self, ask: Ask) -> list[Message]:
        """What the model is given to read. A text to go on from stays one only where the caps have no system prompt:
        else it could be had without it.
        """
        if self._is_text(ask):
            return list(ask.messages)
        tools = {} if ask.raw else self._allowed(ask)
        return self.policy.conversation(ask.messages, described(tools))

    def _prompt(self, turns: list[Message], ask: Ask) -> list[int]:
        return self._prompting.text(turns[0].text) if self._is_text(ask) else self._prompting.chat(turns)

    def _is_text(self, ask: Ask) -> bool:
        return ask.raw and not self.policy.caps.system_prompt

    def _allowed(self, ask: Ask) -> dict[str, Any]:
        known = self.plugins.known
        return {name: item for name, item in known.items() if ask.plugins is None or name in ask.plugins}

    def _turns(self, turns: list[Message], prompt: list[int], ask: Ask, answer: Answer) -> Generator[Event, None, None]:
        """The model writes; when it calls a plugin, that one's result is added and it writes on."""
        allowed = frozenset() if ask.raw else frozenset(self._allowed(ask))
        for turn in range(CALLS + 1):
            answer.stops = Stops((*ask.sampling.stop, *self._stops(ask)))
            answer.calls = Calls(bool(allowed) and turn < CALLS)
            yield from self._write(prompt, ask, answer)
            called = answer.calls.called
            if called is None or answer.sieve.topic or answer.left <= 0:
                break
            result, call = self._called(called, allowed, answer)
            if answer.sieve.topic:
                break
            yield call
            turns += [Message("assistant", answer.said), Message("user", f"<tool_response>{result}</tool_response>")]
            prompt = self._prompt(turns, ask)
            answer.left = self.policy.room(len(prompt), answer.left, self.engine.context).answer
        yield from self._end(answer)

    def _stops(self, ask: Ask) -> tuple[str, ...]:
        return () if self._is_text(ask) else self._prompting.stop

    def _write(self, prompt: list[int], ask: Ask, answer: Answer) -> Iterator[str]:
        """One turn, up to its end or to a whole call."""
        answer.prompt += len(prompt)
        answer.said = ""
        sampling = replace(ask.sampling, tokens=answer.left)
        with closing(self.engine.tokens(prompt, sampling, ask.personality)) as tokens:
            for piece in pieces(self._tokenizer, tokens):
                answer.written += 1
                answer.left -= 1
                said = answer.stops.take(piece)
                answer.said += said
                yield answer.sieve.take(answer.calls.take(said))
                if answer.sieve.topic or answer.stops.found or answer.calls.called is not None:
                    return
        rest = answer.stops.finish()
        answer.said += rest
        yield answer.sieve.take(answer.calls.take(rest) + answer.calls.finish())

    def _called(self, text: str, allowed: frozenset[str], answer: Answer) -> tuple[str, Call]:
        """The result, and what is told of the call. Arguments that a filter refuses, whichever way they are written in
        JSON, end the answer; a result that one refuses is kept from the model.
        """
        name, arguments = as_called(text)
        name = name if name in allowed else ""
        answer.sieve.topic = topic_in(text + json.dumps(arguments, ensure_ascii=False), self.policy.bans("answered"))
        if answer.sieve.topic:
            return "", Call(name, False)
        result = self.plugins.call(name, arguments)
        if topic := topic_in(result.text, self.policy.bans("asked")):
            return f"What the tool said is about {topic}, which is refused.", Call(name, False)
        return result.text, Call(name, result.ok)

    def _end(self, answer: Answer) -> Iterator[Event]:
        yield answer.sieve.finish()
        if answer.sieve.topic:
            yield self.policy.caps.refusal
        ended = answer.stops.found or answer.left > 0
        reason: Reason = "content_filter" if answer.sieve.topic else "stop" if ended else "length"
        yield End(reason, answer.prompt, answer.written)


def _before(ask: Ask) -> str:
    """What the answer goes on from, and its reader has."""
    if ask.raw:
        return ask.messages[0].text
    return next((message.text for message in reversed(ask.messages) if message.role == "assistant"), "")
