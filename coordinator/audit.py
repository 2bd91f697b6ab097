"""Who changed who may take part, and who was refused: a line of JSON each, in the coordinator's folder.

It holds volunteers' addresses, and no token. Its size is bounded, and refusals are so many a minute at most: a flood of
them neither fills the disk nor drives out what was done.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import TextIOWrapper
from logging import INFO, LogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from coordinator import decisions as d
from swarm.errors import OverloadError, RefusedError, SwarmError
from swarm.ration import Ration, caller_of
from swarm.texts import line

FILE = "audit.jsonl"
_BYTES = 4 << 20  # of one file
_OLDER = 4  # files kept beside it
_EACH, _ALL = 10, 60  # refusals in a minute that are written: of one home, and of all
_LONGEST = 300  # letters of what callers say

# What is said of a call that changed who may take part: whom or what it was about, and why.
_ABOUT: dict[str, Callable[[Any, Any], tuple[str, str]]] = {
    "Join": lambda _, answer: (answer.member_id, answer.why),
    "Leave": lambda asked, _: (asked.member_id, asked.reason),
    "MakeInvite": lambda _, answer: (answer.invite.id, f"for a {answer.invite.role}"),
    "RevokeInvite": lambda _, answer: (answer.invite.id, ""),
    "Ban": lambda _, answer: (answer.ban.key, answer.ban.why),
    "Unban": lambda _, answer: (answer.ban.key, answer.ban.why),
    "Trust": lambda asked, answer: (answer.trust.key, "taken back" if asked.revoke else answer.trust.why),
    "SteerRun": lambda _, answer: (f"the run: {answer.course}", answer.why),
    "ApproveCheckpoint": lambda asked, answer: (
        f"checkpoint of round {asked.round}",
        "taken back" if asked.revoke else answer.checkpoint.approved_why,
    ),
    "StartCampaign": lambda _, answer: (f"campaign {answer.campaign.id}", answer.campaign.suite),
    "StopCampaign": lambda _, answer: (f"campaign {answer.campaign.id}", answer.campaign.why),
    "ReportFinding": lambda asked, answer: (f"finding {answer.id}", asked.title),
    "ResolveFinding": lambda asked, _: (f"finding {asked.id}: {asked.state}", asked.note),
    "HandOver": lambda asked, _: (f"{asked.host}:{asked.port}", ""),
}


class Audit:
    """The log in `folder`. Threads may share it; `clock` gives Unix seconds."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = _Private(folder / FILE, maxBytes=_BYTES, backupCount=_OLDER, encoding="utf-8", delay=True)
        self._clock = clock
        self._of_each = Ration(_EACH, 60.0, clock)
        self._of_all = Ration(_ALL, 60.0, clock)
        self._left_out = 0
        self._lock = threading.Lock()

    def done(self, call: str, invite: str, address: str, asked: Any, answer: Any) -> None:
        """A call was answered; kept when it changed who may take part. `invite` is the id of the caller's."""
        if call in _ABOUT:
            about, why = _ABOUT[call](asked, answer)
            self._write(call=call, invite=invite, address=address, about=about, why=why)

    def refused(self, call: str, invite: str, address: str, member: str, error: SwarmError) -> None:
        """A caller was turned away; other errors are none of this log's."""
        if not isinstance(error, RefusedError | OverloadError):
            return
        if not (self._of_each.permits(caller_of(address)) and self._of_all.permits("")):
            with self._lock:
                self._left_out += 1
            return
        with self._lock:
            left_out, self._left_out = self._left_out, 0
        more = {"left_out": left_out} if left_out else {}
        self._write(call=call, invite=invite, address=address, about=member, refused=error.code, why=error.what, **more)

    def decided(self, decision: d.Decision) -> None:
        """The run went back, or was stopped, by rule."""
        if isinstance(decision, d.WentBack | d.RolledBack) and (sentence := str(decision)):
            self._write(call="", about="the run", why=sentence)

    def close(self) -> None:
        self._file.close()

    def _write(self, **said: Any) -> None:
        said |= {"about": line(said["about"], _LONGEST), "why": line(said["why"], _LONGEST)}
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        written = json.dumps({"at": at, **said}, ensure_ascii=False)
        self._file.handle(LogRecord("audit", INFO, "", 0, written, None, None))


class _Private(RotatingFileHandler):
    """Read by nobody else: addresses are the volunteers' own business."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600))


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """All lines that are kept, the oldest first; a torn one is left out. Raises OSError."""
    numbered = [folder / f"{FILE}.{number}" for number in range(_OLDER, 0, -1)]
    for path in (*numbered, folder / FILE):
        if path.exists():
            yield from _lines(path)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found = json.loads(text)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found
