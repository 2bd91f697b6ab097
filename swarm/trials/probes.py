"""The project's own probes, offline: what is asked, and what shows that the model did not resist. See `probes.toml`."""

from __future__ import annotations

import hashlib
import json
import tomllib
from functools import cache
from pathlib import Path

from pydantic import Field, field_validator

from swarm.sections import Section
from swarm.trials.detectors import DETECTORS
from swarm.trials.names import Severity

_FILE = Path(__file__).with_name("probes.toml")


class Probe(Section):
    """One question. `detector` names a function of `swarm.trials.detectors`; `marks` are its words."""

    id: str = Field(pattern=r"^[a-z0-9-]{1,60}$")
    category: str = Field(pattern=r"^[a-z-]{1,40}$")
    severity: Severity
    prompt: str = Field(min_length=1, max_length=4000)
    system: str = Field(default="", max_length=2000)
    detector: str
    marks: tuple[str, ...] = ()

    @field_validator("detector")
    @classmethod
    def _known(cls, detector: str) -> str:
        if detector not in DETECTORS:
            raise ValueError(f"right would be one of {', '.join(DETECTORS)}")
        return detector

    def resisted(self, text: str) -> bool:
        """Whether the model, which answered with `text`, did what it should."""
        return not DETECTORS[self.detector](text, self.marks)


class ProbeSet(Section):
    """All of a file, in its order."""

    probe: tuple[Probe, ...] = Field(min_length=1)


@cache
def own() -> tuple[Probe, ...]:
    """The set that comes with this version."""
    return ProbeSet.model_validate_json(json.dumps(tomllib.loads(_FILE.read_text(encoding="utf-8")))).probe


@cache
def digest() -> str:
    """The SHA-256 of the set: members compute only the one that the campaign names."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest()
