"""Whose updates weigh nothing yet, or again. Pure; what leads there is in `coordinator.trust`."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.records import IssuedInvite, Terms, Trust
from swarm.passes import Role

AFTER_CONDEMNATION = 10  # clean checks in a row at least, as BOINC asks for before it checks a machine less often


def needed(terms: Terms, trust: Trust) -> int:
    """Clean checks in a row that end a key's probation."""
    return max(terms.probation_checks, AFTER_CONDEMNATION if trust.condemned else 0)


def why(terms: Terms, trust: Trust, invite: IssuedInvite | None) -> str:
    """Why the updates of a key's members weigh nothing; empty when they weigh. Who came with the invite of the
    coordinator's own machine, which is in no table, is a maintainer.
    """
    checks = needed(terms, trust)
    if trust.trusted_by or trust.proven or not checks or invite is None or invite.role is not Role.VOLUNTEER:
        return ""
    so_far = f"{trust.clean} of {checks} clean spot checks in a row so far"
    return f"on probation again ({trust.why}): {so_far}" if trust.condemned else f"on probation: {so_far}"


@dataclass(frozen=True)
class Company:
    """Of the members with one invite: how many are here, and how many of those weigh."""

    live: int = 0
    weighing: int = 0

    def plus(self, weighs: bool) -> Company:
        """With one member more."""
        return Company(self.live + 1, self.weighing + weighs)

    def minus(self, weighs: bool) -> Company:
        """Without one of its members."""
        return Company(self.live - 1, self.weighing - weighs)
