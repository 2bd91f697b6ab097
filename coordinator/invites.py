"""Who may call: the run's invites, by the SHA-256 of their tokens, each with a role, an end, and perhaps a revocation.

They are kept in `invites.json` in the run's folder. Commands on the coordinator's machine change the file, the
coordinator looks at it at every call; so a revoked invite's members are refused at their next heartbeat.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

from swarm.errors import CorruptError, NotFoundError, RefusedError, UsageError, from_os_error
from swarm.invite import Role
from swarm.tensorfile import atomic_write

_FILE = "invites.json"
_NEW = "Ask the maintainer for a new invite."


@dataclass(frozen=True)
class Entry:
    """An invite as the coordinator knows it: never its token. Times are Unix seconds, 0 is never."""

    id: str
    sha256: str
    role: Role
    note: str
    made_at: float
    expires_at: float = 0.0
    revoked_at: float = 0.0

    def why_not(self, now: float) -> str:
        """Why it is no longer valid; empty while it is."""
        if self.revoked_at:
            return "was revoked by the maintainer"
        return "has expired" if self.expires_at and now >= self.expires_at else ""


def judge(entries: Sequence[Entry], token: str, now: float) -> Entry:
    """The invite that `token` belongs to. Raises RefusedError that says what is wrong with it. Pure."""
    digest = _digest(token)
    for entry in entries:
        if hmac.compare_digest(entry.sha256, digest):
            if why := entry.why_not(now):
                raise RefusedError(f"The invite {why}.", _NEW)
            return entry
    raise RefusedError("The invite's token is not valid for this coordinator.", _NEW)


class Invites:
    """The invites of the run in `folder`. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._seen: tuple[int, int] = (0, 0)
        self._entries: tuple[Entry, ...] = ()

    def check(self, token: str, now: float) -> Entry:
        """See `judge`. Raises CorruptError when the file is damaged."""
        return judge(self.all(), token, now)

    def all(self) -> tuple[Entry, ...]:
        """In the order in which they were made; read again when the file has changed. Raises CorruptError."""
        try:
            facts = self._path.stat()
            if self._seen != (facts.st_mtime_ns, facts.st_ino):
                self._entries = tuple(Entry(**item) for item in json.loads(self._path.read_text()))
                self._seen = (facts.st_mtime_ns, facts.st_ino)
        except FileNotFoundError:
            return ()
        except (ValueError, TypeError) as error:
            raise CorruptError(f"{self._path} is damaged; nobody is let in.", "Restore it from a backup.") from error
        return self._entries

    def first(self, token: str, now: float) -> None:
        """Let the run's first invite in, for ever, unless it was revoked since."""
        if not self.all():
            self._write([Entry("first", _digest(token), "volunteer", "made at the launch", now)])

    def make(self, role: str, note: str, days: float, now: float) -> tuple[Entry, str]:
        """A new invite and its token, which is nowhere else; `days` 0 is for ever. Raises UsageError, DiskError."""
        if role not in get_args(Role):
            raise UsageError(f"There is no role {role!r}.", f"Roles are {', '.join(get_args(Role))}.")
        token = secrets.token_urlsafe(16)
        ends = now + days * 86400 if days else 0.0
        entry = Entry(secrets.token_hex(3), _digest(token), role, note, now, ends)  # type: ignore[arg-type]
        self._write([*self.all(), entry])
        return entry, token

    def revoke(self, id_: str, now: float) -> Entry:
        """End an invite now; again changes nothing. Raises NotFoundError, DiskError."""
        entries = list(self.all())
        for number, entry in enumerate(entries):
            if entry.id == id_:
                entries[number] = replace(entry, revoked_at=entry.revoked_at or now)
                self._write(entries)
                return entries[number]
        raise NotFoundError(f"There is no invite {id_!r}.", "`swarm invite list RUN` shows all.")

    def _write(self, entries: Sequence[Entry]) -> None:
        try:
            with atomic_write(self._path) as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(json.dumps([asdict(entry) for entry in entries], indent=1).encode())
        except OSError as error:
            raise from_os_error(error, "keeping the invites") from error


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
