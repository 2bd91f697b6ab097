"""The doctor, and the consent before a join: each check fails by a real cause."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from swarm.invite import Invite
from tests.harness import ROOT
from tests.integration.test_bad_input import altered, assert_says, closed_port, command
from tests.swarm_run import SwarmRun, swarm_run, swarm_words

pytestmark = [pytest.mark.processes, pytest.mark.timeout(90)]

_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk, for which it must be root")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwarmRun]:
    with swarm_run(tmp_path_factory.mktemp("run"), rounds=1000) as launched:
        launched.launch()
        yield launched


def examined(invite: str, folder: Path, before: str = "") -> tuple[int, dict[str, Any]]:
    """The doctor's exit code and what it found, checks by their names; in a process that first executes `before`."""
    words = ["swarm", "doctor", invite, "--data-dir", str(folder), "--device", "cpu", "--json"]
    ended = subprocess.run(
        [sys.executable, "-c", f"{before}\nimport sys; from swarm.cli import main; sys.argv = {words!r}; main()"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.stdout, (ended.returncode, ended.stderr)
    found = json.loads(ended.stdout)
    return ended.returncode, {**found, "checks": {check["name"]: check for check in found["checks"]}}


def test_a_machine_that_fits(run: SwarmRun, tmp_path: Path) -> None:
    code, found = examined(run.invite, tmp_path)
    assert code == 0
    assert {check["level"] for check in found["checks"].values()} == {"ok"}
    assert "samples per hour on the CPU" in found["checks"]["speed"]["says"]
    assert found["case"] == "local"
    assert min(found["up"], found["down"]) > 1e6


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@_ROOT
def test_a_full_disk_is_seen_before_anything_is_fetched(run: SwarmRun, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        code, found = examined(run.invite, disk / "peer")
        assert (code, found["checks"]["disk"]["level"]) == (17, "failed")
        assert "--data-dir" in found["checks"]["disk"]["remedy"]
        joined = command("join", run.invite, "--yes", "--json", "--device", "cpu", "--data-dir", str(disk / "peer"))
        assert joined.returncode == 17
        assert "does not fit the run. Disk: " in joined.stderr
        assert not (disk / "peer" / "blobs").exists()


@pytest.mark.parametrize(("ahead", "words"), [(-3600, "3600 s behind"), (90, "90 s ahead of")])
def test_a_wrong_clock(run: SwarmRun, tmp_path: Path, ahead: int, words: str) -> None:
    """As this machine's clock, but not as gRPC's, whose deadlines would all be over."""
    clock = f"types.SimpleNamespace(time=lambda: time.time() + {ahead}, perf_counter=time.perf_counter)"
    shifted = f"import time, types, peer.admission; peer.admission.time = {clock}"
    code, found = examined(run.invite, tmp_path, shifted)
    assert (code, found["checks"]["clock"]["level"]) == (17, "failed")
    assert words in found["checks"]["clock"]["says"]


def test_nobody_answers(run: SwarmRun, tmp_path: Path) -> None:
    code, found = examined(altered(run.invite, port=closed_port()), tmp_path)
    assert (code, found["checks"]["coordinator"]["level"]) == (5, "failed")
    assert found["checks"]["coordinator"]["remedy"]


def test_another_version(run: SwarmRun, tmp_path: Path) -> None:
    code, found = examined(run.invite, tmp_path, "import swarm.version; swarm.version.PROTOCOL_VERSION = 99")
    assert code == 7
    assert "Upgrade garage-swarm at the coordinator" in found["checks"]["coordinator"]["remedy"]


def test_its_screen(run: SwarmRun, tmp_path: Path) -> None:
    ended = command("doctor", run.invite, "--data-dir", str(tmp_path), "--device", "cpu")
    assert ended.returncode == 0
    assert re.search(r"^ok +torch +torch 2", ended.stdout, re.MULTILINE)
    assert all(len(line) < 160 for line in ended.stdout.splitlines())


# ── consent ─────────────────────────────────────────────────────────────────────────────────────


def test_without_a_terminal_it_takes_a_word(run: SwarmRun, tmp_path: Path) -> None:
    refused = command("join", run.invite, "--device", "cpu", "--data-dir", str(tmp_path / "peer"))
    assert refused.returncode == 2
    for words in ("This machine would take part:", "preset:tiny-llama", "no file of yours is read", "add --yes"):
        assert words in refused.stderr
    assert not (tmp_path / "peer").exists()


def at_a_terminal(arguments: list[str], answer: str, wanted: str, seconds: float = 40.0) -> tuple[int, str]:
    """Run a command in a pseudo-terminal, answer its question, and end it once `wanted` is on the screen."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        swarm_words(*arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
        start_new_session=True,
    )
    os.close(theirs)
    shown, end, answered = "", time.monotonic() + seconds, False
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                shown += os.read(ours, 65536).decode(errors="replace")
            except OSError:
                break
        if "Take part?" in shown and not answered:
            os.write(ours, answer.encode())
            answered = True
        if answered and wanted in shown:
            with suppress(ProcessLookupError):
                process.terminate()
            wanted = "\0"
        if process.poll() is not None and not select.select([ours], [], [], 0)[0]:
            break
    code = process.wait(20)
    os.close(ours)
    return code, shown


def test_yes_at_a_terminal_joins_and_is_remembered(run: SwarmRun, tmp_path: Path) -> None:
    arguments = ["join", run.invite, "--device", "cpu", "--threads", "1", "--data-dir", str(tmp_path / "peer")]
    code, shown = at_a_terminal(arguments, "y\n", "training")
    assert code == 0, shown
    assert shown.index("Licence") < shown.index("Take part?") < shown.index("training")
    again = command("join", run.invite, "--device", "cuda:9", "--data-dir", str(tmp_path / "peer"))
    assert "Take part" not in again.stderr
    assert Invite.of(str(tmp_path / "peer" / "invite")) == Invite.parse(run.invite)
    shutil.rmtree(tmp_path / "peer")


@pytest.mark.parametrize("no", ["n\n", "\x04"], ids=["n", "Ctrl-D"])
def test_no_at_a_terminal_leaves_nothing(run: SwarmRun, tmp_path: Path, no: str) -> None:
    code, shown = at_a_terminal(["join", run.invite, "--data-dir", str(tmp_path / "peer")], no, "\0")
    assert code == 2
    assert "Not joined; nothing was fetched." in shown
    assert not (tmp_path / "peer").exists()


def test_a_second_join_says_so_without_asking_again(run: SwarmRun, tmp_path: Path) -> None:
    first = run.join("first")
    first.named("note", 30)
    second = command("join", run.invite, "--device", "cpu", "--data-dir", str(run.folder / "first"))
    assert_says(second, 2, "Another peer")
    first.interrupt()
    assert first.finish(20) == 0
