"""What members brought outlives a coordinator that is killed at any write, and what was dropped leaves no file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator import arrivals
from coordinator import decisions as d
from coordinator import events as e
from coordinator.blobs import Blobs
from coordinator.engine import Engine
from coordinator.records import Checkpoint
from coordinator.state import State
from coordinator.store import SqlStore, open_store
from coordinator.uploads import Stage
from swarm.client import CoordinatorClient
from swarm.errors import UsageError
from swarm.identity import Identity
from swarm.proto import coordinator_pb2 as pb
from swarm.tensorfile import is_sha256
from tests.histories import TERMS, report
from tests.small_run import checkpoint, coordinating, of_artefacts, overwrite

FEW = replace(TERMS, keep_checkpoints=1)
EVIL = 66  # the round whose state eve says is another's
WRITES = 17  # of the whole story


class KilledError(BaseException):
    """The process ends here: nothing of it catches this."""


class Run:
    """A coordinator's tables and files. It is killed `at` that write, or when it is on disk."""

    def __init__(self, folder: Path, at: int = 0, written: bool = False) -> None:
        self.folder = folder
        self.writes = 0
        self._at = at
        self._written = written
        self.store = self._opened()
        self.store.write([d.CheckpointAccepted(self.made(0))], 0.0)
        self.engine = self._started()

    def made(self, number: int) -> Checkpoint:
        """The state of a round, as whoever computed it has it on its own disk; the first is the coordinator's."""
        return checkpoint(self.folder / "outbox" if number else self.folder, number)

    def restart(self) -> None:
        self.store.close()
        self.store = self._opened()
        self.engine = self._started()

    def _opened(self) -> SqlStore:
        return open_store(FEW.run, self.folder)

    def _started(self) -> Engine:
        blobs = Blobs(self.folder / "blobs")
        engine = Engine(arrivals.found(self.store, blobs, FEW), self.store, blobs, clock=lambda: 1.0)
        engine.apply(e.Resumed())
        write, self.store.write = self.store.write, self._write  # type: ignore[method-assign]
        self._really = write
        return engine

    def _write(self, made: Iterable[d.Decision], now: float) -> None:
        self.writes += 1
        if self.writes == self._at and not self._written:
            raise KilledError
        self._really(made, now)
        if self.writes == self._at:
            raise KilledError

    @property
    def state(self) -> State:
        return self.engine.state

    @property
    def files(self) -> set[str]:
        """What lies in the folder of blobs, whole or not."""
        return {path.name for path in (self.folder / "blobs").iterdir() if is_sha256(path.name.partition(".")[0])}

    @property
    def named(self) -> set[str]:
        return {*self.state.brought, *(it.sha256 for it in self.state.checkpoints.values())}

    # ── what members do, and do again when nobody answered ─────────────────────────────────────

    def join(self, *names: str) -> None:
        for name in names:
            self.engine.apply(e.Join(name, name.encode() * 8, name, "1"))

    def say(self, who: str, round_: int, number: int) -> None:
        """That the round made this state."""
        said = report(f"{who}/{round_}", round_, (), self.made(number).digest)
        self.engine.apply(e.Report(who, (said,)))

    def bring(self, who: str, round_: int, number: int) -> None:
        offered = replace(self.made(number), round=round_, uploaded_by=who)
        content = (self.folder / "outbox" / "blobs" / offered.sha256).read_bytes()
        asked = self.engine.apply(e.OfferCheckpoint(who, offered))
        if not any(isinstance(item, d.CheckpointOffered) and item.why for item in asked):
            assert self.engine.blobs.receive(offered.sha256, offered.size, 0, [content], who)
            self.engine.uploaded(offered)


STORY: tuple[Callable[[Run], None], ...] = (
    lambda run: run.join("anna", "ben", "eve"),
    lambda run: run.say("anna", 0, 1),
    lambda run: run.say("ben", 0, 1),
    lambda run: run.bring("anna", 1, 1),
    lambda run: run.say("anna", 1, 2),
    lambda run: run.bring("anna", 2, 2),  # nobody else has spoken of that round
    lambda run: run.say("eve", 1, EVIL),
    lambda run: run.bring("eve", 2, EVIL),
    lambda run: run.say("ben", 1, 2),
    lambda run: run.say("anna", 2, 3),
    lambda run: run.bring("anna", 3, 3),
)


@contextmanager
def told(folder: Path, at: int = 0, written: bool = False) -> Iterator[Run]:
    run = Run(folder, at, written)
    try:
        for act in STORY:
            try:
                act(run)
            except KilledError:
                run.restart()
                assert run.named <= run.files
                act(run)
        yield run
    finally:
        run.store.close()


def assert_well(run: Run) -> None:
    """Two checkpoints, one that waits for others' words, and no other file."""
    assert (sorted(run.state.checkpoints), [it.round for it in run.state.brought.values()]) == ([0, 2], [3])
    assert run.state.latest.digest == run.made(2).digest
    assert run.files == run.named


def test_the_story_itself_ends_with_a_checkpoint_that_waits(tmp_path: Path) -> None:
    with told(tmp_path) as run:
        assert run.writes == WRITES
        assert_well(run)


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("at", range(1, WRITES + 1))
def test_a_kill_at_any_write_changes_nothing_of_it_and_leaves_no_file(tmp_path: Path, at: int, written: bool) -> None:
    with told(tmp_path, at, written) as run:
        assert_well(run)
        run.restart()
        assert_well(run)


def test_what_waits_takes_effect_after_a_restart_once_the_others_agree(tmp_path: Path) -> None:
    with told(tmp_path) as run:
        before = run.state.brought
        run.restart()
        assert run.state.brought == before
        run.say("ben", 2, 3)
        assert (run.state.latest.round, run.state.latest.uploaded_by, run.state.brought) == (3, "anna", {})
        assert run.files == run.named


def test_what_waits_goes_after_a_restart_when_another_state_is_agreed_on(tmp_path: Path) -> None:
    with told(tmp_path) as run:
        run.restart()
        for who in ("ben", "eve"):
            run.say(who, 2, EVIL)
        assert (run.state.latest.round, run.state.brought) == (2, {})
        assert run.files == run.named


@pytest.mark.parametrize("damage", [overwrite, Path.unlink])
def test_what_waits_and_is_torn_is_dropped_by_name(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    with told(tmp_path) as run:
        [waiting] = run.state.brought
        damage(tmp_path / "blobs" / waiting)
        run.restart()
        assert waiting in caplog.text
        assert run.state.brought == {}
        assert (run.files, run.store.uploads()) == (run.named, [])
        run.bring("anna", 3, 3)
        assert list(run.state.brought) == [waiting]


def test_an_upload_that_nobody_went_on_with_goes_once_the_run_is_past_it(tmp_path: Path) -> None:
    with told(tmp_path) as run:
        offered = replace(run.made(4), uploaded_by="ben", sha256="4" * 64)
        [made] = run.engine.apply(e.OfferCheckpoint("ben", offered))
        assert made == d.CheckpointOffered(offered, "")
        run.engine.blobs.receive(offered.sha256, offered.size, 0, [b"half"], "ben")
        run.restart()
        assert run.engine.blobs.arrived(offered.sha256, "ben") == 4, "it may go on"
        for number in (3, 4, 5):
            run.say("anna", number - 1, number)
            run.say("ben", number - 1, number)
        run.bring("anna", 5, 5)
        run.restart()
        assert (run.files, run.store.uploads()) == (run.named, [])


def test_a_file_of_the_run_is_never_deleted_for_a_lie_about_it(tmp_path: Path) -> None:
    """Its bytes are here already, so that nothing need be uploaded to be found a lie."""
    with told(tmp_path) as run:
        for sha256 in sorted(run.named):
            lie = replace(run.made(5), round=5, sha256=sha256, uploaded_by="eve")
            [made] = run.engine.apply(e.OfferCheckpoint("eve", lie))
            assert isinstance(made, d.CheckpointOffered)
            assert made.why == "it is already here"
        assert run.files == run.named
        assert [it.stage for it in run.store.uploads()].count(Stage.ASIDE) == 1


def test_a_member_takes_away_none_of_the_files_that_the_run_began_with(tmp_path: Path) -> None:
    with coordinating(tmp_path) as coordinator, CoordinatorClient.connect(coordinator.invite) as client:
        member = client.join(Identity.load_or_create(tmp_path / "eve"), "eve").member_id
        start = client.get_run().latest
        shard = of_artefacts(tmp_path)
        lie = pb.Checkpoint(round=1, digest="0" * 64, sha256=shard.name, size=shard.stat().st_size)
        with pytest.raises(UsageError, match="began with"):
            client.offer_checkpoint(member, lie)
        lie.sha256, lie.size = start.sha256, start.size
        assert client.offer_checkpoint(member, lie).why == "it is already here"
        client.upload(member, tmp_path / "blobs" / start.sha256, start.sha256, 0)
        assert shard.exists()
        assert (tmp_path / "blobs" / start.sha256).exists()
