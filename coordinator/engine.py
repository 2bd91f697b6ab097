"""One run at work: events go through `tick`, decisions to disk, and only then does anybody hear of them.

Events that come while a write is under way are decided one after the other and written together: a disk makes some
hundred safe writes a second, and a large swarm asks more often than that.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from coordinator import decisions as d
from coordinator import events as e
from coordinator.blobs import Blobs
from coordinator.handover import elsewhere
from coordinator.ledger import Entry
from coordinator.records import Checkpoint
from coordinator.state import State
from coordinator.store import Store
from coordinator.tick import tick
from swarm import log
from swarm.errors import CorruptError, RefusedError, from_code
from swarm.handover import Handover
from swarm.moments import reach
from swarm.tensorfile import state_digest

logger = log.get(__name__)


@dataclass(eq=False)
class _Asked:
    """What somebody waits for: what was decided on the event (None: that time passed), or why nothing was."""

    event: e.Event | None
    made: list[d.Decision] = field(default_factory=list)
    error: Exception | None = None
    answered: bool = False


class Engine:
    """Serialises all changes of a run. `state` may be read at any time: it is replaced, never changed.

    When nothing happened for more than `absence` seconds, the process or its machine stood still, or the clock was set.
    """

    def __init__(
        self,
        state: State,
        store: Store,
        blobs: Blobs,
        clock: Callable[[], float] = time.time,
        absence: float = math.inf,
    ) -> None:
        self.state = state
        self.store = store
        self.blobs = blobs
        self._clock = clock
        self._absence = absence
        self._looked = clock()
        self.closed: Handover | None = None  # to where the run was handed over
        self.listeners: list[Callable[[d.Decision], None]] = []  # each hears of a decision once it is on disk
        self._lock = threading.Lock()
        self._waiting: deque[_Asked] = deque()

    def apply(self, event: e.Event | None = None) -> list[d.Decision]:
        """Let `event` happen, or only time pass. Raises RefusedError, HandedOverError, and DiskError when
        nothing could be written.
        """
        asked = _Asked(event)
        self._waiting.append(asked)
        with self._lock:
            if not asked.answered:
                self._answer_all()
        if asked.error:
            raise asked.error
        self._after(asked.made)
        for decision in asked.made:
            if isinstance(decision, d.Refused):
                raise from_code(decision.code, decision.what, decision.remedy)
        return asked.made

    def close(self, hand_over: Callable[[State], Handover]) -> None:
        """Change nothing any more, once `hand_over` has put on disk where the run is led from then on."""
        with self._lock:
            self.closed = hand_over(self.state)

    def ledger(self, first: int, last: int | None) -> tuple[State, list[Entry]]:
        """The ledger of rounds first ≤ r < last, and the state of the moment that it shows."""
        with self._lock:  # shortly: reading a long ledger must hold up nobody
            state, newest = self.state, self.store.newest_entry()
        return state, self.store.ledger(first, last, newest)

    def uploaded(self, checkpoint: Checkpoint) -> None:
        """The bytes of an offered checkpoint are here: look whether they hold the state that was offered."""
        try:
            digest = state_digest(self.blobs.path(checkpoint.sha256))
            self.apply(e.CheckpointUploaded(checkpoint.sha256, digest))
        except (RefusedError, CorruptError):
            self._delete(checkpoint.sha256)
            raise

    def _answer_all(self) -> None:
        """Everybody who waits by now; the one who does it for all is among them."""
        together = self._waiting.copy()
        try:
            self._answer(together)
        except Exception:  # nothing of it is on disk, so nothing happened: whose event it was bears that alone
            for asked in together:
                self._answer_one(asked)
        for _ in together:
            self._waiting.popleft().answered = True

    def _answer_one(self, asked: _Asked) -> None:
        try:
            self._answer([asked])
        except Exception as error:  # it goes to who waits for it
            asked.made, asked.error = [], error

    def _answer(self, together: Iterable[_Asked]) -> None:
        """Decide one after the other, and write all that was decided at once."""
        now, state, made, looked = self._clock(), self.state, list[d.Decision](), self._looked
        for asked in together:
            if self.closed:
                raise elsewhere(self.closed)
            events = [*self._missed(looked, now, asked.event), *self._asked(asked.event, made)]
            state, asked.made = tick(state, events, now, secrets.randbits(64))
            made += asked.made
            looked = now
        self._write(made, now)
        self.state, self._looked = state, now

    def _write(self, made: Sequence[d.Decision], now: float) -> None:
        if made:
            reach("write")
            self.store.write(made, now)
            reach("written")

    def _missed(self, looked: float, now: float, event: e.Event | None) -> list[e.Event]:
        """Of a time in which nobody could be heard, silence says nothing; a clock that was set back looks the same.
        Where `event` is the coordinator's start, that says it all.
        """
        gap = abs(now - looked)
        return [e.Resumed(seconds=gap)] if gap > self._absence and not isinstance(event, e.Resumed) else []

    def _asked(self, event: e.Event | None, unwritten: Sequence[d.Decision]) -> list[e.Event]:
        """The event, if there is one; with the answers to reports that were filed before, also a moment ago."""
        if not isinstance(event, e.Report):
            return [] if event is None else [event]
        keys = [report.key for report in event.reports]
        filed = [item for item in unwritten if isinstance(item, d.ReportFiled) and item.report.key in keys]
        return [replace(event, known=self.store.receipts(keys) | {item.report.key: item.receipts for item in filed})]

    def _after(self, made: list[d.Decision]) -> None:
        for decision in made:
            for listener in self.listeners:
                listener(decision)
            if sentence := str(decision):
                logger.info("%s", sentence, extra=_facts(decision))
            if isinstance(decision, d.CheckpointDropped):
                self._delete(decision.checkpoint.sha256)

    def _delete(self, sha256: str) -> None:
        """Unless it is, or perhaps becomes, a checkpoint of the run: members name files as they like."""
        state = self.state
        if sha256 not in state.brought and all(it.sha256 != sha256 for it in state.checkpoints.values()):
            self.blobs.delete(sha256)


def _facts(decision: d.Decision) -> dict[str, str | int]:
    """The member and the round that it is about, where it says so, for the log."""
    found = getattr(decision, "checkpoint", getattr(decision, "evaluation", decision))
    member = getattr(decision, "member", None)
    facts = {"member": getattr(member, "id", member), "round": getattr(found, "round", None)}
    return {key: value for key, value in facts.items() if value is not None}
