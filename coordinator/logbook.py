"""What is kept of a run for people to look at: its rounds, and who took part on which day. Tables of their own.

Nothing that the coordinator decides depends on them. A round that is told again replaces what was kept of it and of all
later ones, which were undone with it; work on rounds that were undone was work, and stays in the days.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Engine, Float, Index, MetaData, String, Table, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from coordinator.kinds import PRIVATE
from coordinator.records import Metrics
from coordinator.rounds import RoundSummary
from coordinator.sqlerrors import in_our_words
from coordinator.state import State
from coordinator.tables import entries, log
from swarm.identity import key_of
from swarm.ranges import LAST

_DAY = 86_400.0  # seconds
_LONGEST = 3600.0  # seconds of work that are believed of a round whose predecessor is not known
_metadata = MetaData()

_rounds = Table(
    "logbook_rounds",
    _metadata,
    Column("run", String(64), primary_key=True),
    Column("round", BigInteger, primary_key=True),
    Column("at", Float(53), nullable=False),
    Column("loss", Float(53)),
    Column("samples", BigInteger, nullable=False),
    Column("members", BigInteger, nullable=False),
    Column("global_samples", BigInteger, nullable=False),
    Column("compute_seconds", Float(53), nullable=False),
    Column("exchange_seconds", Float(53), nullable=False),
    Column("bytes_sent", BigInteger, nullable=False),
    Column("bytes_received", BigInteger, nullable=False),
    Column("agreed", Boolean, nullable=False),
    Column("digest", String(64), nullable=False),
)

# One row for each key and night: `night` counts days from noon to noon UTC, so that an evening and the morning after it
# are one.
_nights = Table(
    "logbook_nights",
    _metadata,
    Column("run", String(64), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("night", BigInteger, primary_key=True),
    Column("rounds", BigInteger, nullable=False),
    Column("seconds", Float(53), nullable=False),
)

_by_member = Index("entries_by_member", entries.c.run, entries.c.member)  # for `account`


@dataclass(frozen=True)
class Round:
    """One settled round. `at`: Unix seconds; `loss` is None when it was no number; seconds are those of the slowest
    member, bytes those of all members together.
    """

    round: int
    at: float
    loss: float | None
    samples: int
    members: int
    global_samples: int
    compute_seconds: float
    exchange_seconds: float
    bytes_sent: int
    bytes_received: int
    agreed: bool
    digest: str


@dataclass(frozen=True)
class Work:
    """What a key did: rounds in which it took part, nights with one, and seconds. Its samples are the ledger's."""

    rounds: int = 0
    nights: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Line:
    """What the ledger says of a member's samples in one round."""

    round: int
    state: str
    samples: int
    why: str


class Logbook:
    """The tables of one run. One thread keeps rounds; others may read. `clock` gives Unix seconds."""

    def __init__(self, run: str, database: Engine, clock: Callable[[], float] = time.time) -> None:
        self._run = run
        self._database = database
        self._clock = clock
        self._newest = 0.0  # when the last round was, that was kept by this process
        self.listeners: list[Callable[[Round], None]] = []  # each hears of a round once it is on disk

    def create(self) -> None:
        """Make what is not there yet. Raises DiskError, SwarmError."""
        with in_our_words():
            _metadata.create_all(self._database)
            _by_member.create(self._database, checkfirst=True)

    def told(self, state: State) -> int:
        """The first round that was not told before the coordinator stopped: that is not kept, or of which the members
        say something else now.
        """
        first = min(state.votes, default=0)
        kept = {found.round: found.digest for found in self.rounds(first)}
        asked = [number for number in range(first, state.round) if number in state.votes]
        return next((number for number in asked if kept.get(number) != state.votes[number].majority), state.round)

    def keep(self, summary: RoundSummary) -> None:
        """A round is settled. Raises DiskError, SwarmError."""
        found = self._round(summary)
        longest = found.at - self._newest if 0 < self._newest < found.at else _LONGEST
        nights = [_night(found.at, longest, *item) for item in sorted(summary.votes.items())]
        later = (_rounds.c.run == self._run, _rounds.c.round >= found.round)
        with in_our_words(), self._database.begin() as connection:
            connection.execute(delete(_rounds).where(*later))
            connection.execute(_rounds.insert().values(run=self._run, **vars(found)))
            connection.execute(self._adding(), [{"run": self._run, **row} for row in nights])
        self._newest = found.at
        for listener in self.listeners:
            listener(found)

    def rounds(self, first: int = 0) -> Iterator[Round]:
        """All that are kept from `first` on, in their order."""
        chosen = select(_rounds).where(_rounds.c.run == self._run, _rounds.c.round >= first).order_by(_rounds.c.round)
        with in_our_words(), self._database.connect() as connection:
            for row in connection.execution_options(yield_per=1000).execute(chosen):
                yield Round(*row[1:])

    def works(self, key: str = "") -> dict[str, Work]:
        """What each key did, or only that one."""
        sums = [func.sum(_nights.c.rounds), func.count(), func.sum(_nights.c.seconds)]
        which = [_nights.c.run == self._run, *([_nights.c.key == key] if key else [])]
        chosen = select(_nights.c.key, *sums).where(*which).group_by(_nights.c.key)
        with in_our_words(), self._database.connect() as connection:
            return {row[0]: Work(int(row[1]), row[2], row[3]) for row in connection.execute(chosen)}

    def decisions(self, most: int) -> list[tuple[float, str]]:
        """The last decisions that everybody may read, with their times, the newest first."""
        chosen = select(log.c.at, log.c.text).where(log.c.run == self._run, log.c.kind.not_in(PRIVATE))
        with in_our_words(), self._database.connect() as connection:
            found = connection.execute(chosen.order_by(log.c.number.desc()).limit(most))
            return [(row.at, row.text) for row in found]

    def account(self, members: Collection[str], most: int) -> list[Line]:
        """What the ledger says of these members' samples, the latest rounds first."""
        samples = func.sum(entries.c.stop - entries.c.start)
        named = (entries.c.round, entries.c.state, entries.c.why)
        chosen = select(*named, samples).where(entries.c.run == self._run, entries.c.member.in_(members))
        with in_our_words(), self._database.connect() as connection:
            found = connection.execute(chosen.group_by(*named).order_by(entries.c.round.desc()).limit(most))
            return [Line(row[0], row[1], int(row[3]), row[2]) for row in found]

    def _round(self, summary: RoundSummary) -> Round:
        """Members say what they like: clocks are wrong, though hardly the middle one of many, no round ended in the
        future, and what is no number is kept as none.
        """
        ended = median(vote.finished_at for vote in summary.votes.values())
        facts = {name: getattr(summary, name) for name in Round.__dataclass_fields__ if name != "at"}
        facts |= {"loss": summary.loss if math.isfinite(summary.loss) else None}
        facts |= {name: _seconds(facts[name]) for name in ("compute_seconds", "exchange_seconds")}
        facts |= {name: min(facts[name], LAST) for name in ("bytes_sent", "bytes_received")}
        return Round(at=min(_seconds(ended), self._clock()), **facts)

    def _adding(self) -> Any:
        """Insert a night, or add to it."""
        dialect = postgresql if self._database.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(_nights)
        sums = {name: _nights.c[name] + statement.excluded[name] for name in ("rounds", "seconds")}
        return statement.on_conflict_do_update(index_elements=["run", "key", "night"], set_=sums)


def _night(at: float, longest: float, member: str, vote: Metrics) -> dict[str, Any]:
    """What a member's report of a round adds to its key's night; nobody worked for longer than `longest` seconds."""
    seconds = min(_seconds(vote.compute_seconds) + _seconds(vote.exchange_seconds), longest)
    night = int((at - _DAY / 2) // _DAY)
    return {"key": key_of(member), "night": night, "rounds": 1, "seconds": seconds}


def _seconds(said: float) -> float:
    """Not negative, and a number."""
    return max(0.0, said) if math.isfinite(said) else 0.0
