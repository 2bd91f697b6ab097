"""The section `[release]` of a run spec: what must be there before a model of the run is released."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from swarm.sections import Section
from swarm.trials.names import Severity

_FIGURE = re.compile(r"([\w][\w./-]*):([\w][\w.,/-]*)\s*(>=|<=)\s*(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)")
_WEB = re.compile(r"https?://[^\s?#@]+")
_HELD = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Figure:
    """What an evaluation must reach: `suite:metric >= value`, or <=."""

    suite: str
    metric: str
    sign: str
    value: float

    def holds(self, found: float) -> bool:
        return bool(_HELD[self.sign](found, self.value))

    def __str__(self) -> str:
        return f"{self.suite}:{self.metric} {self.sign} {self.value:g}"


def figure(text: str) -> Figure:
    """Raises ValueError when `text` is none."""
    found = _FIGURE.fullmatch(text.strip())
    if found is None:
        raise ValueError('right would be such as "arc_easy:acc >= 0.4" or "heldout:loss <= 2.5"')
    return Figure(found[1], found[2], found[3], float(found[4]))


class Release(Section):
    """The gate."""

    evaluations: list[str] = Field(
        default=[], max_length=100, description='what evaluations must reach: "SUITE:METRIC >= VALUE", or <='
    )
    findings: Severity | Literal["any"] = Field(
        default="high", description="no open finding of this severity or a worse one; any: findings do not matter"
    )
    base_license: str = Field(default="", description="of the base model, as an SPDX expression")
    cleared: list[str] = Field(
        default=[],
        max_length=100,
        description="licences that the maintainers have examined themselves and take for compatible",
    )
    signers: list[Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]] = Field(
        default=[], max_length=100, description="fingerprints of the keys of those who release"
    )
    signatures: int = Field(default=1, ge=1, le=100, description="how many of them must sign")
    recall: str = Field(default="", description="the address below which a notice of recall would lie")

    @field_validator("evaluations")
    @classmethod
    def _figures(cls, evaluations: list[str]) -> list[str]:
        for text in evaluations:
            figure(text)
        return evaluations

    @field_validator("signers")
    @classmethod
    def _each_once(cls, signers: list[str]) -> list[str]:
        if len(set(signers)) != len(signers):
            raise ValueError("right would be each of them once")
        return signers

    @field_validator("signatures")
    @classmethod
    def _are_so_many(cls, needed: int, info: ValidationInfo) -> int:
        signers = info.data.get("signers", [])
        if signers and needed > len(signers):
            raise ValueError(f"right would be as many as there are release.signers ({len(signers)}), or fewer")
        return needed

    @field_validator("recall")
    @classmethod
    def _address(cls, recall: str) -> str:
        if recall and not _WEB.fullmatch(recall):
            raise ValueError("right would be an address such as https://run.example.org/recalls")
        return recall
