"""Maintainers that are logged in to the page. Their invites' tokens stay in memory; every action shows one again."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from swarm.errors import LoginError, OverloadError, RefusedError
from swarm.ration import Ration, caller_of

LIFE = 8 * 3600.0  # seconds
_MOST = 64  # of more, the oldest end
_TRIES = 5  # in a minute, of one home. There is no limit for all: a token of 128 bits cannot be guessed, and whoever
# used up such a limit would keep the maintainers out.
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Session:
    """`csrf` must come with each action, in a header: other sites' forms cannot send it. Until `ends`, Unix seconds."""

    token: str
    csrf: str
    ends: float


class Sessions:
    """By the secret that the browser keeps in a cookie. `clock` gives Unix seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._open: dict[str, Session] = {}
        self._tries = Ration(_TRIES, 60.0, clock)
        self._lock = threading.Lock()

    def require_patience(self, address: str) -> None:
        """Raises OverloadError when there were too many tries of this home."""
        if not self._tries.permits(caller_of(address)):
            raise OverloadError("Too many tries to log in came from this address within a minute.", "Wait a minute.")

    def begin(self, token: str) -> tuple[str, Session]:
        """For a token that was found to be a maintainer's: the cookie's secret, and the session."""
        made = Session(token, secrets.token_urlsafe(16), self._clock() + LIFE)
        with self._lock:
            self._open = {key: one for key, one in self._open.items() if one.ends > self._clock()}
            while len(self._open) >= _MOST:
                del self._open[next(iter(self._open))]
            self._open[secret := secrets.token_urlsafe(32)] = made
        return secret, made

    def of(self, secret: str) -> Session | None:
        """The session, if it has not ended."""
        found = self._open.get(secret)
        return found if found and found.ends > self._clock() else None

    def acting(self, secret: str, csrf: str) -> Session:
        """Of who wants to change something. Raises LoginError, RefusedError."""
        found = self.of(secret)
        if found is None:
            raise LoginError("You are not logged in, or not any more.", "Log in with a maintainer's invite.")
        if not hmac.compare_digest(found.csrf.encode(), csrf.encode()):
            raise RefusedError("This action did not come from the page itself.", "Reload the page and try again.")
        return found

    def end(self, secret: str) -> None:
        with self._lock:
            self._open.pop(secret, None)


def insecure(scheme: str, client: str, host: str) -> str:
    """Why a token must not be sent this way; empty when it may: over TLS, or without leaving the machine.

    `host` is the name in the browser's address: a proxy on this machine that says nothing of TLS is not taken for it.
    """
    if scheme == "https" or (client in _LOCAL and host in _LOCAL):
        return ""
    return (
        "This page came over plain HTTP, so anybody on the way could read the invite that you log in with. "
        "Use https (a proxy in front of the page), or open the page on the coordinator's machine at http://127.0.0.1."
    )
