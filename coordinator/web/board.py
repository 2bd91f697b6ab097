"""What is shown now, made once for all readers: from the run's state, which nobody changes, and from its logbook."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from coordinator.engine import Engine
from coordinator.logbook import Logbook, Round, Work
from coordinator.state import State
from coordinator.web import account, facts, trialfacts
from coordinator.web.curves import History
from coordinator.web.facts import Facts
from swarm.errors import RefusedError
from swarm.identity import member_id
from swarm.runspec import RunSpec

_FRESH_SECONDS = 2.0  # how old the whole page's facts may be
_WORKS_SECONDS = 5.0  # and what the volunteers did, which the database adds up
_DECISIONS = 60
_LINES = 200  # of a volunteer's account


@dataclass(frozen=True)
class Body:
    """Bytes that are sent to many: as they are, and packed."""

    plain: bytes
    packed: bytes

    @classmethod
    def of(cls, plain: bytes) -> Body:
        return cls(plain, gzip.compress(plain, 5, mtime=0))


class Board:
    """One run's. `add` is called by one thread, the rest by the page's. `clock` gives Unix seconds."""

    def __init__(
        self, spec: RunSpec, engine: Engine, logbook: Logbook, invite: str, clock: Callable[[], float] = time.time
    ) -> None:
        self.invite = invite  # that everybody may see; empty for none
        self._what = facts.what(spec)
        self._engine = engine
        self._logbook = logbook
        self._clock = clock
        self._history = History()
        self._recent: deque[Round] = deque(maxlen=facts.RECENT)
        self._works: tuple[float, dict[str, Work]] = (0.0, {})
        self._made: tuple[float, Body] = (0.0, Body(b"", b""))
        self._adding, self._making = threading.Lock(), threading.Lock()

    def load(self) -> None:
        """All rounds that were kept before. Raises DiskError, SwarmError."""
        for found in self._logbook.rounds():
            self.add(found)

    def add(self, found: Round) -> None:
        """A round was kept, in place of all later ones."""
        with self._adding:
            while self._recent and self._recent[-1].round >= found.round:
                self._recent.pop()
            self._recent.append(found)
            self._history.add(found)

    def everything(self) -> Body:
        """All that the page shows at first."""
        with self._making:
            made_at, body = self._made
            if abs(self._clock() - made_at) > _FRESH_SECONDS:
                body = Body.of(packed(self._everything()))
                self._made = (self._clock(), body)
            return body

    def news(self) -> Facts:
        """What changes from second to second, and the count of what changed else."""
        state = self._engine.state
        more = {"seen": _seen(state), "moved": self._engine.closed is not None}
        return facts.now(state, self._rounds(state)[-5:], self._clock()) | more

    def of(self, public_key: bytes) -> Facts:
        """What the run knows of the key's owner. Raises RefusedError for a key that never took part."""
        state, key = self._engine.state, member_id(public_key)
        seats = sorted((it for it in state.members.values() if it.key == key), key=lambda it: it.id)
        if not seats:
            raise RefusedError("Nobody has taken part in this run with this key.", "Join it first: swarm join INVITE.")
        lines = self._logbook.account([seat.id for seat in seats], _LINES)
        return account.of(state, seats, lines, self._logbook.works(key).get(key, Work()))

    def _everything(self) -> Facts:
        state, works = self._engine.state, self._done()
        with self._adding:
            spans = self._history.spans()
        return {
            "run": self._what,
            "now": self.news(),
            "curves": facts.curves([span for span in spans if span.first < state.round]),
            "rounds": [facts.timeline(found) for found in self._rounds(state)],
            "heldout": facts.heldout(state),
            "evaluations": facts.evaluations(state),
            "checkpoints": facts.checkpoints(state),
            "members": facts.members(state, works),
            "members_ever": len(state.members),
            "leaders": facts.leaders(state, works),
            "trials": trialfacts.of(state, self._clock()),
            "decisions": [[round(at), text] for at, text in self._logbook.decisions(_DECISIONS)],
            "invite": self.invite,
        }

    def _rounds(self, state: State) -> list[Round]:
        """The last ones, but those that were undone."""
        with self._adding:
            return [found for found in self._recent if found.round < state.round]

    def _done(self) -> dict[str, Work]:
        """What each key did, some seconds old at most."""
        made_at, works = self._works
        if abs(self._clock() - made_at) > _WORKS_SECONDS:
            works = self._logbook.works()
            self._works = (self._clock(), works)
        return works


def packed(values: Facts) -> bytes:
    """JSON; raises ValueError for a number that JSON does not have."""
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _seen(state: State) -> list[int]:
    """Differs when something else than the news changed."""
    newest = max(state.evaluations, default=-1)
    swarm = (newest, state.latest.round, len(state.members), state.tempo.members, len(state.bans), state.lineage)
    approved = sum(bool(kept.approved_by) for kept in state.checkpoints.values())
    return [*swarm, approved, state.record.count, len(state.trials.open), trialfacts.settled(state)]
