"""What the caps make of a request: pure decisions, which `swarm chat` and `swarm serve` carry out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from swarm.bundle.caps import Caps
from swarm.bundle.filters import Ban, Where, compiled, topic_in

Role = Literal["system", "user", "assistant"]
_USERS_OWN = "[Instructions of the user; those of the system come first]\n"
CALLS = 4  # of plugins in one answer
STOPS = 4  # texts that end an answer, as many as OpenAI takes
STOP_LETTERS = 64


@dataclass(frozen=True)
class Message:
    """One message of a conversation, or a client's."""

    role: Role
    text: str


@dataclass(frozen=True)
class Room:
    """Tokens: what a request may have. `why` says why it may not be answered at all; empty when it may."""

    answer: int
    why: str = ""


@dataclass(frozen=True)
class Policy:
    """The caps of one bundle at work."""

    caps: Caps

    def conversation(self, messages: Sequence[Message], tools: str = "") -> list[Message]:
        """What the model sees. The bundle's own system prompt is the first message and the only one of that role: what
        a client sends as system is the user's, and says so. Without a system prompt in the caps a client may set one.
        """
        own = "\n\n".join(filter(None, (self.caps.system_prompt, tools)))
        if not own:
            return _in_turns(messages)
        return [Message("system", own), *_in_turns([*map(_demoted, messages)])]

    def room(self, prompt: int, wanted: int | None, context: int) -> Room:
        """`prompt`: tokens of the whole conversation, the system prompt included, so that nothing is ever cut off its
        beginning. `wanted`: what the client asks for at most; more than the caps give is not given.
        """
        longest = min(self.caps.prompt_tokens, context - 1)
        if prompt > longest:
            return Room(0, f"The conversation has {prompt} tokens, and this model takes {longest}.")
        return Room(min(wanted or self.caps.answer_tokens, self.caps.answer_tokens, context - prompt))

    def refused(self, messages: Sequence[Message]) -> str:
        """The topic for which what is asked is refused, whoever it is said to be from; empty when it is not. Messages
        are looked at together, too: a word in two of them is read as one.
        """
        bans = self.bans("asked")
        texts = [message.text for message in messages]
        return next(filter(None, (topic_in(text, bans) for text in (*texts, "".join(texts)))), "")

    def bans(self, where: Where) -> tuple[Ban, ...]:
        """The filters for that side."""
        return self._asked if where == "asked" else self._answered

    @cached_property
    def _asked(self) -> tuple[Ban, ...]:
        return self._of("asked")

    @cached_property
    def _answered(self) -> tuple[Ban, ...]:
        return self._of("answered")

    def _of(self, where: Where) -> tuple[Ban, ...]:
        found = (item for item in self.caps.filters if item.where in (where, "both"))
        return tuple(Ban(item.topic, compiled(item.pattern)) for item in found)

    def terms(self) -> list[str]:
        """What a user must agree to before the first conversation; empty when there is nothing."""
        caps = self.caps
        age = f"You must be {caps.minimum_age} years old or older." if caps.minimum_age else ""
        return [
            line for line in (caps.notice, f"Where it may be used: {caps.regions}" * bool(caps.regions), age) if line
        ]

    def terms_digest(self) -> str:
        """What is kept of an agreement: other terms are asked again."""
        return hashlib.sha256("\0".join(self.terms()).encode()).hexdigest()


def _in_turns(messages: Sequence[Message]) -> list[Message]:
    """Neighbours of one role become one: many models' templates want roles in turns."""
    turns: list[Message] = []
    for message in messages:
        if turns and turns[-1].role == message.role:
            turns[-1] = Message(message.role, f"{turns[-1].text}\n\n{message.text}")
        else:
            turns.append(message)
    return turns


def _demoted(message: Message) -> Message:
    return message if message.role != "system" else Message("user", _USERS_OWN + message.text)
