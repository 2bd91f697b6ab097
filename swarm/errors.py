"""The one error tree of the project.

    SwarmError                 exit 1    something failed and none of the words below fits better
    ├── UsageError             exit 2    the command was called wrongly (Typer uses 2 as well)
    ├── SpecError              exit 3    the run spec is wrong: names key, line, what was found, what would be right
    ├── InviteError            exit 4    the invite cannot be read, or names another coordinator
    ├── UnreachableError       exit 5    no answer from the coordinator, the swarm or a registry
    │   ├── HandedOverError    exit 23   the run is led from another address now; peers follow by themselves
    │   └── OverloadError      exit 26   the coordinator was asked too often, or has too much to do; ask again later
    ├── RefusedError           exit 6    the coordinator or a registry refused: not a member, not allowed
    │   ├── InviteExpiredError exit 18   the invite's time is over
    │   ├── InviteRevokedError exit 19   the maintainer took the invite back
    │   ├── InviteUnknownError exit 20   the coordinator never made this invite
    │   ├── InviteFullError    exit 28   as many members as the invite is for take part with it
    │   ├── BannedError        exit 27   the maintainer banned this key from the run; the message says why
    │   └── LoginError         exit 25   who joins did not show that it has the key that it names
    ├── ProtocolError          exit 7    the two sides speak different versions of the protocol
    ├── UnknownRunError        exit 8    the coordinator has no such run
    ├── DataError              exit 9    the data is missing, empty, or too short
    ├── DiskError              exit 10   no space left, or a folder cannot be written
    ├── PortInUseError         exit 11   another program listens on the port
    ├── CorruptError           exit 12   a file is torn or altered; it is refused by name
    ├── NotFoundError          exit 13   a checkpoint, a file, a run folder that does not exist
    ├── ModelError             exit 14   the model cannot be built or fetched
    ├── StalledError           exit 15   the swarm waited to the end of its patience; the message says for what
    ├── WorkerCrashError       exit 16   the training process died again and again; its report is kept
    ├── UnfitError             exit 17   this machine does not fit the run: memory, disk, device, clock
    ├── UnsoundError           exit 21   what this machine computes was wrong again and again
    ├── HaltedError            exit 22   the run was stopped, because it diverged again and again
    ├── HandoverError          exit 24   a hand-over is forged, torn, or older than one that is known
    ├── UnreadyError           exit 29   a release is refused; the message lists everything that is missing
    ├── UntrustedError         exit 30   nobody who is trusted signed the bundle, or too few did
    ├── OtherRunError          exit 31   the bundle is of another run than the one that was asked for
    └── RecalledError          exit 32   the bundle was recalled by those who released it

Ctrl-C during a join, a launch or a serve is a normal end: exit 0.  Ctrl-C elsewhere: exit 130.
"""

from __future__ import annotations

import errno
from typing import ClassVar


class SwarmError(Exception):
    """Something went wrong that the user must know.

    `what` says what happened and what it means; `remedy` says what to do.
    `code` travels over gRPC (see `swarm.proto.ErrorDetail`), so that no side ever matches message texts.
    """

    code: ClassVar[str] = "FAILED"
    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}".strip()


class UsageError(SwarmError):
    code, exit_code = "USAGE", 2


class SpecError(SwarmError):
    code, exit_code = "SPEC", 3


class InviteError(SwarmError):
    code, exit_code = "INVITE", 4


class UnreachableError(SwarmError):
    code, exit_code = "UNREACHABLE", 5


class RefusedError(SwarmError):
    code, exit_code = "REFUSED", 6


class ProtocolError(SwarmError):
    code, exit_code = "PROTOCOL", 7


class UnknownRunError(SwarmError):
    code, exit_code = "UNKNOWN_RUN", 8


class DataError(SwarmError):
    code, exit_code = "DATA", 9


class DiskError(SwarmError):
    code, exit_code = "DISK", 10


class PortInUseError(SwarmError):
    code, exit_code = "PORT_IN_USE", 11


class CorruptError(SwarmError):
    code, exit_code = "CORRUPT", 12


class NotFoundError(SwarmError):
    code, exit_code = "NOT_FOUND", 13


class ModelError(SwarmError):
    code, exit_code = "MODEL", 14


class StalledError(SwarmError):
    code, exit_code = "STALLED", 15


class WorkerCrashError(SwarmError):
    code, exit_code = "WORKER_CRASH", 16


class UnfitError(SwarmError):
    code, exit_code = "UNFIT", 17


class UnsoundError(SwarmError):
    code, exit_code = "UNSOUND", 21


class HaltedError(SwarmError):
    code, exit_code = "HALTED", 22


class InviteExpiredError(RefusedError):
    code, exit_code = "INVITE_EXPIRED", 18


class InviteRevokedError(RefusedError):
    code, exit_code = "INVITE_REVOKED", 19


class InviteUnknownError(RefusedError):
    code, exit_code = "INVITE_UNKNOWN", 20


class InviteFullError(RefusedError):
    code, exit_code = "INVITE_FULL", 28


class BannedError(RefusedError):
    code, exit_code = "BANNED", 27


class LoginError(RefusedError):
    code, exit_code = "LOGIN", 25


class HandedOverError(UnreachableError):
    code, exit_code = "HANDED_OVER", 23


class OverloadError(UnreachableError):
    code, exit_code = "OVERLOAD", 26


class HandoverError(SwarmError):
    code, exit_code = "HANDOVER", 24


class UnreadyError(SwarmError):
    code, exit_code = "UNREADY", 29


class UntrustedError(SwarmError):
    code, exit_code = "UNTRUSTED", 30


class OtherRunError(SwarmError):
    code, exit_code = "OTHER_RUN", 31


class RecalledError(SwarmError):
    code, exit_code = "RECALLED", 32


def _tree(root: type[SwarmError]) -> tuple[type[SwarmError], ...]:
    return (root, *(found for child in root.__subclasses__() for found in _tree(child)))


# What only people can mend: who starts by itself again and again stops at these.
LASTING = (
    *(UsageError, SpecError, InviteError, RefusedError, ProtocolError, UnknownRunError, WorkerCrashError, UnfitError),
    *(InviteExpiredError, InviteRevokedError, InviteUnknownError, UnsoundError, HaltedError, HandoverError),
    *(LoginError, BannedError),
)

TREE: tuple[type[SwarmError], ...] = _tree(SwarmError)
BY_CODE: dict[str, type[SwarmError]] = {error.code: error for error in TREE}


def from_code(code: str, what: str, remedy: str) -> SwarmError:
    """The error that another process named by `code`; an unknown code becomes a plain SwarmError."""
    return BY_CODE.get(code, SwarmError)(what, remedy)


def from_os_error(error: OSError, doing: str) -> SwarmError:
    """`error` in the project's words; `doing` completes "… failed while {doing}"."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskError(
            f"The disk is full; {doing} could not finish{where}.",
            "Free some space and run the command again; nothing that was confirmed is lost.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DiskError(
            f"No permission while {doing}{where}.",
            "Choose a folder that you may write to.",
        )
    return SwarmError(f"{doing.capitalize()} failed: {error.strerror or error}{where}.")
