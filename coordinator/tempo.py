"""How fast the live members are together. Pure; exact sums, so members may come and go in any order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_UNIT = 1e-9  # samples per second
_FASTEST = 1e12  # samples per second; who claims more has no speed that is known


@dataclass(frozen=True)
class Tempo:
    """`members` are all, `known` those whose speed is known, `total` their speeds' sum in units of 1e-9 per second."""

    members: int = 0
    known: int = 0
    total: int = 0

    @staticmethod
    def of(speeds: Iterable[float]) -> Tempo:
        """The sum of members with these speeds, in samples per second."""
        tempo = Tempo()
        for speed in speeds:
            tempo = tempo.plus(speed)
        return tempo

    def plus(self, speed: float) -> Tempo:
        """With one member more."""
        units = _units(speed)
        return Tempo(self.members + 1, self.known + (units > 0), self.total + units)

    def minus(self, speed: float) -> Tempo:
        """Without one of its members."""
        units = _units(speed)
        return Tempo(self.members - 1, self.known - (units > 0), self.total - units)

    @property
    def samples_per_second(self) -> float:
        """All of those whose speed is known, together."""
        return self.total * _UNIT

    def share(self, own: float) -> float:
        """The part of the work that a member of speed `own` gets; an equal part when its speed is unknown."""
        if not (units := _units(own)):
            return 1 / self.members
        return units * self.known / (self.total * self.members)


def _units(speed: float) -> int:
    """0 for a speed that is not known."""
    return round(speed / _UNIT) if 0 < speed <= _FASTEST else 0
