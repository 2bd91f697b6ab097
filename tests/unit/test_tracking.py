"""Trackers get every round and evaluation, and can hold up nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator import decisions as d
from coordinator import trackers
from coordinator.records import Evaluation
from coordinator.rounds import RoundSummary
from coordinator.trackers import About, Point
from coordinator.tracking import Courier, Tracking
from swarm import log
from swarm.errors import SpecError, UsageError
from swarm.runspec import example, loads

SUMMARY = RoundSummary(4, 64, 3, 320, 2.5, "d5", True, 1.5, 0.5, 1000.0)
EVALUATED = d.EvaluationAccepted(Evaluation(5, "d5", 2.25, {"bleu": 0.5}))


class Kept:
    """A tracker that keeps points; `before` is called first."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self.points: list[Point] = []
        self.closed = False
        self._before = before

    def note(self, point: Point) -> None:
        self._before()
        self.points.append(point)

    def close(self) -> None:
        self.closed = True


def fails() -> None:
    raise OSError("no route to the tracker")


def point(number: int) -> Point:
    return Point(number, 0.0, {})


def ended(courier: Courier, seconds: float = 5.0) -> Courier:
    courier.stop()
    courier.wait(seconds)
    return courier


def test_rounds_and_evaluations_arrive_in_their_order() -> None:
    kept = Kept()
    courier = Courier("kept", lambda: kept)
    courier.start()
    tracking = Tracking([courier])
    tracking.round(SUMMARY)
    tracking.decided(d.RoundAdvanced(5, False))
    tracking.decided(EVALUATED)
    tracking.close()
    assert [(p.round, p.numbers.get("loss"), p.numbers.get("heldout_loss")) for p in kept.points] == [
        (4, 2.5, None),
        (5, None, 2.25),
    ]
    assert kept.points[1].numbers["heldout/bleu"] == 0.5
    assert kept.closed
    assert tracking.dropped() == {"kept": 0}


def test_one_that_hangs_costs_nobody_time_and_what_it_misses_is_counted() -> None:
    free = threading.Event()
    slow, quick = Kept(lambda: bool(free.wait(30)) or None), Kept()  # type: ignore[arg-type, return-value]
    hanging, other = Courier("slow", lambda: slow, waiting=3), Courier("quick", lambda: quick, waiting=200)
    for courier in (hanging, other):
        courier.start()
    began = time.monotonic()
    for number in range(100):
        hanging.tell(point(number))
        other.tell(point(number))
    assert time.monotonic() - began < 1
    assert hanging.dropped >= 96
    hanging.stop()
    hanging.wait(0.1)
    ended(other)
    assert len(quick.points) == 100
    free.set()
    hanging.wait(5)
    assert slow.closed


def test_trouble_is_said_once(log_file: Path) -> None:
    log.setup(log_file)
    courier = Courier("away", lambda: Kept(fails))
    courier.start()
    for number in range(20):
        courier.tell(point(number))
    ended(courier)
    said = log_file.read_text()
    assert said.count("away: what is told to it is dropped: OSError: no route to the tracker") == 1
    assert said.count("away: 20 points were dropped") == 1


def test_one_that_cannot_be_opened_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.tracking._AGAIN_SECONDS", 0.0)
    kept, tries = Kept(), [0]

    def opening() -> Kept:
        tries[0] += 1
        if tries[0] < 3:
            fails()
        return kept

    courier = Courier("late", opening)
    courier.start()
    for number in range(5):
        courier.tell(point(number))
    ended(courier)
    assert [p.round for p in kept.points] == [2, 3, 4]
    assert courier.dropped == 2


# ── the run spec ─────────────────────────────────────────────────────────────────────────────────


def spec(line: str) -> str:
    return example().to_toml().replace("trackers = []", line)


def test_trackers_are_named_in_the_run_spec() -> None:
    assert example().tracking.trackers == []
    named = loads(spec('trackers = ["tensorboard", "mlflow"]'))
    assert named.tracking.trackers == ["tensorboard", "mlflow"]
    assert loads(named.to_toml()) == named


def test_a_tracker_that_nobody_knows_is_refused_with_its_line() -> None:
    text = spec('trackers = ["tensorbord"]')
    number = text.splitlines().index('trackers = ["tensorbord"]') + 1
    with pytest.raises(SpecError, match=rf"line {number}: tracking.trackers.0 is 'tensorbord'; right would be 'tensor"):
        loads(text)


def test_a_tracker_is_named_once() -> None:
    with pytest.raises(SpecError, match="right would be each of them once"):
        loads(spec('trackers = ["wandb", "wandb"]'))


def test_a_library_that_is_missing_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == "wandb" else object())
    trackers.require(["tensorboard", "mlflow"])
    with pytest.raises(UsageError) as caught:
        trackers.require(["tensorboard", "wandb"])
    assert "pip install 'garage-swarm[wandb]'" in str(caught.value)


# ── the real libraries, where they are installed ─────────────────────────────────────────────────


def about(folder: Path) -> About:
    return About("law", "law-0123abcd", {"training.rounds": 40, "run.title": ""}, folder)


def brought(name: str, folder: Path) -> None:
    """Two starts of a coordinator, with a round that is made again."""
    for rounds in ((0, 1, 2), (1, 2)):
        tracker = trackers.begin(name)(about(folder))
        for number in rounds:
            tracker.note(Point(number, 1000.0 + number, {"loss": 3.0 - number, "heldout/bleu": 0.5}))
        tracker.close()


def test_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    brought("tensorboard", tmp_path)
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {(e.step, e.tensor_proto.float_val[0]) for e in found.Tensors("loss")} == {(0, 3.0), (1, 2.0), (2, 1.0)}


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    brought("wandb", tmp_path)
    assert len(list((tmp_path / "wandb").glob("offline-run-*/run-law-0123abcd.wandb"))) >= 1


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/mlruns")
    brought("mlflow", tmp_path)
    client = mlflow.MlflowClient(f"file:{tmp_path}/mlruns")
    [run] = client.search_runs([client.get_experiment_by_name("garage-swarm").experiment_id])
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")] == [0, 1, 2, 1, 2]
    assert run.data.params == {"training.rounds": "40"}
    assert run.info.status == "FINISHED"


def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    brought("trackio", tmp_path)
    assert list(tmp_path.glob("garage-swarm*.db"))
