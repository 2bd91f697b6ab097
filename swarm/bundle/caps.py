"""Caps: what a model of a bundle may do when it is run, said by those who release it.

Our runtime (`swarm chat`, `swarm serve`) enforces them; for other runtimes they are advice, and the model card says so.
Everything is off or bounded unless it is declared.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from swarm.bundle.filters import compiled
from swarm.sections import Count, Section

_LONGEST = 10_000  # letters of a text in the caps
_NAME = r"[a-z][a-z0-9_]{0,62}"
Text = Annotated[str, Field(max_length=_LONGEST)]


class Plugin(Section):
    """A program of the bundle that the model may call, in a process of its own, with these rights and no others."""

    name: str = Field(pattern=f"^{_NAME}$", description="as the model calls it")
    file: str = Field(description="the program's path in the bundle: plugins/NAME.py")
    description: Text = Field(description="what it does, for the model and for people")
    parameters: dict[str, str] = Field(default_factory=dict, description="what it is called with: name and meaning")
    network: bool = Field(default=False, description="whether it may open connections")
    read: tuple[str, ...] = Field(default=(), description="folders that it may read, as the user names them")
    write: tuple[str, ...] = Field(default=(), description="folders that it may write")
    seconds: Annotated[float, Field(gt=0, le=600)] = Field(default=10.0, description="after which it is ended")
    memory_mb: Annotated[int, Field(ge=16, le=16384)] = Field(default=256, description="that it may take")

    @field_validator("file")
    @classmethod
    def _of_the_bundle(cls, file: str) -> str:
        if not re.fullmatch(rf"plugins/{_NAME}\.py", file):
            raise ValueError("right would be plugins/NAME.py")
        return file


class Filter(Section):
    """What is refused: texts in which `pattern` is found, in what is asked, in what is answered, or in both."""

    topic: str = Field(min_length=1, max_length=100, description="what it is about, as the refusal says it")
    pattern: str = Field(
        min_length=1,
        max_length=1000,
        description="a regular expression of RE2, searched in texts folded as swarm/bundle/folding.py says",
    )
    where: Literal["asked", "answered", "both"] = Field(default="both")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        compiled(pattern)
        return pattern


class Caps(Section):
    """The whole policy."""

    system_prompt: Text = Field(default="", description="put before every conversation; users cannot replace it")
    plugins: tuple[Plugin, ...] = Field(default=(), max_length=32, description="what the model may call")
    filters: tuple[Filter, ...] = Field(default=(), max_length=100, description="what is refused")
    refusal: Text = Field(default="I cannot help with that.", description="what is said instead")
    prompt_tokens: Count = Field(default=4096, description="the longest prompt, conversation included")
    answer_tokens: Count = Field(default=1024, description="the longest answer")
    requests_per_minute: Count = Field(default=60, description="of one client")
    minimum_age: Annotated[int, Field(ge=0, le=21)] = Field(default=0, description="of users, in years; 0: none")
    regions: Text = Field(default="", description="a notice: where it may be used, or not")
    notice: Text = Field(default="", description="shown before the first conversation")
