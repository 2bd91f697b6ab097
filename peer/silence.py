"""Whether a worker hangs: a call to a GPU that never comes back is not seen in any other way. Pure: times come in.

A worker tells what its training thread does, twice a second while it trains; where it may be in one thing for longer,
it told what that is. The bounds are generous: a worker that is ended loses its work, and one that hangs only holds its
leases for so long.
"""

from __future__ import annotations

from typing import Any

from peer.bridge import Handler
from swarm.runspec import RunSpec

USUAL = 1800.0  # seconds without a word: a batch on a slow machine, a kernel that is compiled
_LONG = 6 * 3600.0  # a large model that is loaded, fetched on a home link, or measured
_LONG_PHASES = ("", "syncing", "evaluating")  # "" is the start, before it told any
_TRIES = 4  # exchange.timeout_seconds that one exchange may take: ready, average, commit, and who else is asked
_STEP = 1.0  # seconds between two looks, at most: a machine that sleeps, or a parent that is frozen, does not look

# What the training thread tells and asks. Others speak as well, also of a worker whose training hangs.
BEATS = frozenset(
    {
        "setup",
        "maddrs",
        "device",
        "chunk",
        "heldout",
        "phase",
        "round",
        "evaluated",
        "checkpoint",
        "latest_checkpoint",
        "quarantined",
    }
)


def allowed(phase: str, spec: RunSpec) -> float:
    """Seconds for which a worker in that phase may say nothing."""
    exchange = _TRIES * spec.exchange.timeout_seconds + spec.exchange.grace_seconds
    return (_LONG if phase in _LONG_PHASES else USUAL) + exchange


class Silence:
    """Of one worker. `heard` may be called by any thread."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._phase = ""
        self._words = 0
        self._known = 0  # words at the last look
        self._lasted = 0.0
        self._looked: float | None = None

    def heard(self, phase: str = "") -> None:
        """The worker's training thread said something; perhaps what it does now."""
        self._phase = phase or self._phase
        self._words += 1

    def look(self, now: float) -> str:
        """Why the worker is taken to hang, at `now` on the monotonic clock; nothing while it is not."""
        since, self._looked = now - (now if self._looked is None else self._looked), now
        if self._words != self._known:
            self._known, self._lasted = self._words, 0.0
        self._lasted += min(since, _STEP)
        if self._lasted <= allowed(self._phase, self._spec):
            return ""
        return f"the training process said nothing for {self._lasted:.0f} s ({self._phase or 'starting'}) and was ended"


def listening(silence: Silence, handlers: dict[str, Handler]) -> dict[str, Handler]:
    """The same handlers; what the training thread says breaks the silence, when it comes and once it is answered."""
    return {name: _beating(silence, handler) if name in BEATS else handler for name, handler in handlers.items()}


def _beating(silence: Silence, handler: Handler) -> Handler:
    def heard(**params: Any) -> Any:
        silence.heard(params.get("phase", ""))
        try:
            return handler(**params)
        finally:
            silence.heard()

    return heard
