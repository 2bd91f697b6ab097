"""OpenAI's requests and answers, as far as a bundle's model has them. What is not known here is refused, not ignored:
a client that asks for something hears that it does not get it.

Format: https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from peer.serving.answering import Ask, End
from peer.serving.engine import Sampling
from swarm.bundle.policy import STOP_LETTERS, STOPS, Message
from swarm.errors import UsageError

_Stop = Annotated[str, Field(max_length=STOP_LETTERS)]
_One = Annotated[int | None, Field(ge=1, le=1)]
_Zero = Annotated[float | None, Field(ge=0, le=0)]
_TEMPERATURE = 0.7
Kind = TypeVar("Kind", bound=BaseModel)


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Part(_Said):
    type: Literal["text"]
    text: str


class _Message(_Said):
    """`name` is taken and not used; what is None is what clients send back of an earlier answer."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]
    name: str | None = None
    refusal: None = None
    annotations: None = None
    audio: None = None
    function_call: None = None
    tool_calls: None = None

    def plain(self) -> Message:
        """As the policy knows it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message("system" if self.role == "developer" else self.role, text)


class _Options(_Said):
    include_usage: bool = False


class _Request(_Said):
    model: str
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    seed: Annotated[int | None, Field(ge=-(1 << 63), lt=1 << 63)] = None
    stop: _Stop | Annotated[list[_Stop], Field(max_length=STOPS)] | None = None
    stream: bool | None = None
    stream_options: _Options | None = None
    user: str | None = None  # taken and not used
    n: _One = None
    presence_penalty: _Zero = None
    frequency_penalty: _Zero = None
    logit_bias: Annotated[dict[str, float] | None, Field(max_length=0)] = None

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the count of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self, tokens: int | None) -> Sampling:
        """How tokens are drawn."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        temperature = _TEMPERATURE if self.temperature is None else self.temperature
        return Sampling(tokens or 0, temperature, self.top_p or 1.0, self.seed, tuple(stops))


class _Function(_Said):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(_Said):
    type: Literal["function"]
    function: _Function


class _Format(_Said):
    type: Literal["text"]


class ChatRequest(_Request):
    """Of /v1/chat/completions. `tools` narrows the bundle's plugins, which run here; a client cannot bring others."""

    messages: Annotated[list[_Message], Field(min_length=1, max_length=2048)]
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    tools: Annotated[list[_Tool] | None, Field(max_length=32)] = None
    tool_choice: Literal["auto", "none"] | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    logprobs: Literal[False] | None = None

    def ask(self, personality: str, plugins: Mapping[str, object]) -> Ask:
        """Raises UsageError for tools that the bundle does not have."""
        sampling = self.sampling(self.max_completion_tokens or self.max_tokens)
        return Ask(tuple(item.plain() for item in self.messages), sampling, personality, self._tools(plugins))

    def _tools(self, plugins: Mapping[str, object]) -> frozenset[str] | None:
        if self.tool_choice == "none":
            return frozenset()
        named = None if self.tools is None else frozenset(tool.function.name for tool in self.tools)
        if named and not named <= plugins.keys():
            known = ", ".join(plugins) or "none"
            raise UsageError(f"tools: this model calls only the plugins of its bundle: {known}.", "Leave tools out.")
        return named


class TextRequest(_Request):
    """Of /v1/completions."""

    prompt: str
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    best_of: _One = None
    echo: Literal[False] | None = None
    suffix: None = None
    logprobs: None = None

    def ask(self, personality: str, _plugins: Mapping[str, object]) -> Ask:
        """Without plugins: there is no conversation in which they could answer."""
        return Ask((Message("user", self.prompt),), self.sampling(self.max_tokens), personality, frozenset(), raw=True)


def parsed(kind: type[Kind], body: bytes) -> Kind:
    """Raises UsageError, which names the field."""
    try:
        return kind.model_validate_json(body)
    except (ValidationError, RecursionError) as error:
        raise UsageError(_first(error)) from None


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "The request is nested too deeply."
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"{where}: this server does not know that field."
    return f"{where or 'The request'}: {first['msg']}."


class Reply:
    """One answer in OpenAI's form: `kind` is "chat.completion" or "text_completion"."""

    def __init__(self, kind: str, model: str) -> None:
        self._chat = kind == "chat.completion"
        self._head = {"id": f"{'chatcmpl' if self._chat else 'cmpl'}-{uuid4().hex}", "created": int(time.time())}
        self._kind = kind
        self._model = model

    def whole(self, text: str, end: End, calls: Sequence[str]) -> dict[str, Any]:
        """`calls`: plugins that were called, told beside OpenAI's own fields."""
        message = {"message": {"role": "assistant", "content": text, "refusal": None}} if self._chat else {"text": text}
        extra = {"garage_swarm": {"plugins": list(calls)}} if calls else {}
        return {**self._with(self._kind, message, end.reason), "usage": usage(end), **extra}

    def begin(self) -> list[dict[str, Any]]:
        """The first part of a stream."""
        return [self._part({"role": "assistant", "content": ""})] if self._chat else []

    def piece(self, text: str) -> dict[str, Any]:
        """A part of a stream."""
        return self._part({"content": text} if self._chat else text)

    def end(self, end: End, with_usage: bool) -> list[dict[str, Any]]:
        """The last parts of a stream."""
        last = self._part({} if self._chat else "", end.reason)
        counted = {**self._part({} if self._chat else ""), "choices": [], "usage": usage(end)}
        return [last, *([counted] if with_usage else [])]

    def _part(self, delta: Any, reason: str | None = None) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self._chat else self._kind
        return self._with(kind, {"delta": delta} if self._chat else {"text": delta}, reason)

    def _with(self, kind: str, said: dict[str, Any], reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": reason}
        return {**self._head, "object": kind, "model": self._model, "choices": [choice]}


def usage(end: End) -> dict[str, int]:
    """Tokens."""
    total = end.prompt + end.written
    return {"prompt_tokens": end.prompt, "completion_tokens": end.written, "total_tokens": total}
