"""A worker that says nothing for longer than anything that it does may take is taken to hang."""

from __future__ import annotations

from typing import Any

import pytest

from peer.orders import Orders
from peer.silence import Silence, allowed, listening
from swarm.runspec import RunSpec, example


@pytest.fixture
def spec() -> RunSpec:
    return example()


def looks(silence: Silence, begin: float, seconds: float, step: float = 0.1) -> str:
    """What ten looks a second find in so many seconds."""
    for number in range(int(seconds / step) + 1):
        if why := silence.look(begin + number * step):
            return why
    return ""


def test_who_tells_of_its_batches_is_left_alone(spec: RunSpec) -> None:
    silence = Silence(spec)
    for hour in range(24):
        silence.heard("training")
        assert looks(silence, hour * 900.0, 900.0, 1.0) == ""


def test_who_falls_silent_while_it_trains_is_taken_to_hang(spec: RunSpec) -> None:
    silence = Silence(spec)
    silence.heard("training")
    most = allowed("training", spec)
    assert looks(silence, 0.0, most - 1, 1.0) == ""
    assert looks(silence, most - 1, 10, 1.0) == (
        f"the training process said nothing for {most + 1:.0f} s (training) and was ended"
    )


@pytest.mark.parametrize("phase", ["", "syncing", "evaluating"])
def test_what_may_take_hours_may(spec: RunSpec, phase: str) -> None:
    silence = Silence(spec)
    if phase:
        silence.heard(phase)
    assert looks(silence, 0.0, 5 * 3600.0, 1.0) == ""
    assert looks(silence, 5 * 3600.0, 2 * 3600.0, 1.0)


def test_a_machine_that_sleeps_and_a_parent_that_is_frozen_do_not_count(spec: RunSpec) -> None:
    """Whatever the clock does meanwhile: there is no look."""
    silence = Silence(spec)
    silence.heard("training")
    for night in range(100):
        assert silence.look(night * 8 * 3600.0) == ""


def test_a_long_exchange_is_waited_for(spec: RunSpec) -> None:
    patient = spec.model_copy(update={"exchange": spec.exchange.model_copy(update={"timeout_seconds": 3600.0})})
    assert allowed("exchanging", patient) > 4 * 3600.0 > allowed("exchanging", spec)


def test_only_the_training_thread_breaks_the_silence(spec: RunSpec) -> None:
    """Others ask for leases and passes, and send what others fetch, also when training hangs."""
    silence, told = Silence(spec), list[dict[str, Any]]()
    handlers = listening(silence, {name: lambda **params: told.append(params) for name in ("phase", "lease", "moved")})
    handlers["phase"](phase="training", why="")
    most = allowed("training", spec)
    assert looks(silence, 0.0, most - 60, 1.0) == ""
    handlers["lease"](samples=3)
    handlers["moved"](count=3)
    assert looks(silence, most - 60, 70, 1.0)
    assert len(told) == 3


def test_who_rests_says_so_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.orders._TELL_SECONDS", 0.01)
    told: list[bool] = []
    Orders(duty=0.1).rest(0.01, lambda: told.append(True))
    assert len(told) > 2
    told.clear()
    Orders(duty=1.0).rest(10.0, lambda: told.append(True))
    assert not told
