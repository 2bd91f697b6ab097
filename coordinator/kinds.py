"""What kind of decision a sentence of the log is, so that nobody has to read that from its words; and the kind that no
event of a member leads to.
"""

from __future__ import annotations

from dataclasses import dataclass

LOST = "MemberLost"
PRIVATE = ("InviteMade", "InviteRevoked")  # whom an invite is for is not for everybody to read


@dataclass(frozen=True)
class CoordinatorBack:
    """It was started, or had stood still for so many seconds, or its clock was set by as many."""

    seconds: float

    def __str__(self) -> str:
        if not self.seconds:
            return "The coordinator was started."
        return f"The coordinator had stood still, or its clock was set, by {self.seconds:.0f} s."


def kind_of(decision: object) -> str:
    """The decision's name; members that fell silent are told apart from those that left."""
    return LOST if getattr(decision, "silent", False) else type(decision).__name__
