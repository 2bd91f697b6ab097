"""How long a call may keep a thread: pure, with a clock that is moved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordinator import patience
from coordinator.patience import SECONDS, Patience, Wait, overdue
from swarm.proto import coordinator_pb2 as pb


class Context:
    def __init__(self) -> None:
        self.ended = False

    def cancel(self) -> None:
        self.ended = True


def waits(count: int, since: float, first: bool = True) -> list[Any]:
    return [Wait(Context(), since, first) for _ in range(count)]  # type: ignore[arg-type]


def test_who_is_silent_for_too_long_is_overdue() -> None:
    early, late = waits(1, 0.0), waits(1, 5.0)
    assert overdue([*late, *early], SECONDS) == []
    assert overdue([*late, *early], SECONDS + 1) == early


def test_in_a_crowd_a_first_message_must_come_soon() -> None:
    crowd = waits(80, 0.0)
    assert overdue(crowd, 0.2) == []
    assert len(overdue(crowd, 1.5)) == 80 - patience._CROWD
    assert overdue(waits(80, 0.0, first=False), 1.5) == [], "a file on its way is no silent caller"
    assert overdue([*crowd, *waits(80, 1.4)], 1.5) == crowd, "those who came last may wait"


def heard(pause: float, size: int, times: int) -> int:
    """How many messages of that size, so far apart, are heard before the call is ended."""
    now = [0.0]
    known, context = Patience(lambda: now[0]), Context()

    def messages() -> Iterator[pb.Chunk]:
        for _ in range(times):
            now[0] += pause
            known.look()
            if context.ended:
                return
            yield pb.Chunk(data=bytes(size))

    return len(list(known.heard(messages(), context)))  # type: ignore[arg-type]


def test_a_slow_line_may_take_long_and_a_drip_may_not() -> None:
    assert heard(3.0, 64 << 10, 1000) == 1000
    assert heard(9.0, 1, 1000) == 1
    assert heard(11.0, 1 << 20, 1000) == 0


def test_what_we_take_ourselves_is_not_the_callers_silence() -> None:
    now = [0.0]
    known, context = Patience(lambda: now[0]), Context()
    for _ in known.heard(iter([pb.Chunk()] * 5), context):  # type: ignore[arg-type]
        now[0] += 60.0
        known.look()
    assert not context.ended


def test_an_answer_that_is_not_taken_ends() -> None:
    now = [0.0]
    known, context = Patience(lambda: now[0]), Context()
    telling = known.told(iter([pb.Chunk(data=b"x")] * 5), context)  # type: ignore[arg-type]
    next(telling)
    now[0] += SECONDS + 1
    known.look()
    assert context.ended
    telling.close()  # type: ignore[attr-defined]
    assert not known._waits
