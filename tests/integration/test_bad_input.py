"""Bad input, as a user meets it: one clear sentence with its remedy, a documented exit code, never a traceback."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from swarm.invite import Invite
from swarm.version import PROTOCOL_VERSION
from tests.harness import ROOT, Program
from tests.swarm_run import SwarmRun, swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(60)]

_SLOW_SECONDS = 15.0


def command(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "swarm.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=40,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **options,  # type: ignore[call-overload]
    )


def assert_says(ended: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert ended.returncode == code, (ended.returncode, ended.stderr)
    assert "Traceback" not in ended.stderr + ended.stdout
    assert ended.stderr.startswith("swarm: ")
    for word in words:
        assert word in ended.stderr, ended.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwarmRun]:
    """A launched run that all tests of this file ask wrongly."""
    with swarm_run(tmp_path_factory.mktemp("run"), rounds=3) as launched:
        launched.launch()
        yield launched


def altered(invite: str, **changes: object) -> str:
    return str(replace(Invite.parse(invite), **changes))  # type: ignore[arg-type]


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"fingerprint": "0" * 32}, 4, ("another coordinator",)),
        ({"token": "wrong"}, 20, ("token", "new one")),
        ({"run": "another"}, 8, ("'another'", "Check the invite")),
        ({"port": -1}, 5, ("127.0.0.1",)),
        ({"host": "no-such-host.invalid"}, 5, ("no-such-host.invalid",)),
    ],
    ids=["fingerprint", "token", "run", "unreachable", "unknown-host"],
)
@pytest.mark.parametrize("verb", ["join", "status"])
def test_a_wrong_invite(
    run: SwarmRun, tmp_path: Path, verb: str, change: dict[str, object], code: int, words: tuple[str, ...]
) -> None:
    change = {key: closed_port() if value == -1 else value for key, value in change.items()}
    where = ["--data-dir", str(tmp_path / "peer")] if verb == "join" else []
    started = time.monotonic()
    assert_says(command(verb, altered(run.invite, **change), *where), code, *words)
    assert time.monotonic() - started < _SLOW_SECONDS


@pytest.mark.parametrize("text", ["", "hello", "http://x/y", "swarm://host/run", "swarm://host:1/run?fp=1&token=2"])
def test_what_is_no_invite(text: str, tmp_path: Path) -> None:
    assert_says(command("join", text, "--data-dir", str(tmp_path / "peer")), 4, "invite")
    assert not (tmp_path / "peer" / "blobs").exists()


def test_another_version_of_the_protocol(run: SwarmRun) -> None:
    code = (
        "import swarm.version; swarm.version.PROTOCOL_VERSION = 99\n"
        "import sys; from swarm.cli import main; sys.argv = ['swarm', 'status', sys.argv[1]]; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, run.invite], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert_says(ended, 7, "version 99", f"version {PROTOCOL_VERSION}", "Upgrade garage-swarm at the coordinator")


def launch(folder: Path, spec: str, *options: str, **more: object) -> subprocess.CompletedProcess[str]:
    (folder / "run.toml").write_text(spec)
    where = ["--data-dir", str(folder / "coordinator"), "--host", "127.0.0.1", "--port", "0"]
    return command("launch", str(folder / "run.toml"), *where, *options, **more)


def spec_of(folder: Path, **values: object) -> str:
    return SwarmRun(folder, **values).write_spec().read_text()


def test_spec_errors_are_all_named_with_key_and_line(tmp_path: Path) -> None:
    spec = spec_of(tmp_path).replace("rounds = 6", 'rounds = "many"').replace("micro_batch_size", "micro_batch_sise")
    assert_says(launch(tmp_path, spec), 3, "training.rounds", "line", "micro_batch_sise", "micro_batch_size")
    assert_says(launch(tmp_path, spec + "\n[run"), 3, "line")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "corpus.txt", id="missing"),
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"Too short.", "token", id="short", marks=pytest.mark.long),
        pytest.param(b"\xff\xfe\x00bad" * 99, "UTF-8", id="not-utf-8", marks=pytest.mark.long),
    ],
)
def test_data_that_cannot_be_used(tmp_path: Path, content: bytes | None, words: str) -> None:
    spec = spec_of(tmp_path)
    (tmp_path / "corpus.txt").unlink()
    if content is not None:
        (tmp_path / "corpus.txt").write_bytes(content)
    assert_says(launch(tmp_path, spec), 9, words)
    assert not (tmp_path / "coordinator" / "artefacts.json").exists()


def test_a_port_in_use(run: SwarmRun, tmp_path: Path) -> None:
    shutil.copytree(run.folder / "coordinator", tmp_path / "coordinator", ignore=shutil.ignore_patterns("*.sqlite*"))
    shutil.copy(run.folder / "corpus.txt", tmp_path)
    assert_says(launch(tmp_path, run.spec.read_text(), "--port", str(run.port)), 11, str(run.port), "--port")


@pytest.mark.parametrize(
    ("where", "code", "words"),
    [("x", 2, "no address for metrics"), ("{port}", 11, "--metrics")],
    ids=["no-port", "in-use"],
)
def test_an_address_for_metrics(run: SwarmRun, tmp_path: Path, where: str, code: int, words: str) -> None:
    metrics = ("--metrics", where.format(port=run.port))
    assert_says(launch(tmp_path, run.spec.read_text(), *metrics), code, words)
    assert not (tmp_path / "coordinator").exists()


@pytest.mark.skipif(find_spec("trackio") is not None, reason="it is installed")
def test_a_tracker_that_is_not_installed(run: SwarmRun, tmp_path: Path) -> None:
    spec = run.spec.read_text() + '\n[tracking]\ntrackers = ["trackio"]\n'
    assert_says(launch(tmp_path, spec), 2, "trackio", "pip install 'garage-swarm[trackio]'")
    assert not (tmp_path / "coordinator").exists()


def test_a_folder_that_another_coordinator_serves(run: SwarmRun) -> None:
    where = ["--data-dir", str(run.folder / "coordinator"), "--host", "127.0.0.1", "--port", "0"]
    assert_says(command("launch", str(run.spec), *where), 2, "Another coordinator", "--data-dir")


def test_a_changed_spec_is_refused_by_key(run: SwarmRun, tmp_path: Path) -> None:
    changed = tmp_path / "run.toml"
    changed.write_text(run.spec.read_text().replace("target_batch_size = 24", "target_batch_size = 48"))
    shutil.copy(run.folder / "corpus.txt", tmp_path)
    where = ["--data-dir", str(run.folder / "coordinator"), "--host", "127.0.0.1", "--port", "0"]
    assert_says(command("launch", str(changed), *where), 3, "training.target_batch_size")


def small_disk(limit: int) -> object:
    """The kernel refuses to write beyond `limit` bytes in a file, as a full disk would."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return limited


def test_a_disk_that_takes_no_more(run: SwarmRun, tmp_path: Path) -> None:
    full = command("join", run.invite, "--yes", "--data-dir", str(tmp_path / "peer"), preexec_fn=small_disk(1 << 20))
    assert full.returncode in (1, 10)
    assert "Traceback" not in full.stderr + full.stdout
    assert full.stderr.startswith("swarm: ")
    launched = launch(tmp_path, spec_of(tmp_path), preexec_fn=small_disk(1 << 20))
    assert launched.returncode in (1, 10)
    assert "Traceback" not in launched.stderr + launched.stdout
    assert not (tmp_path / "coordinator" / "artefacts.json").exists()


def test_a_data_dir_that_is_a_file(run: SwarmRun, tmp_path: Path) -> None:
    (tmp_path / "peer").write_text("in the way")
    ended = command("join", run.invite, "--yes", "--data-dir", str(tmp_path / "peer"))
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    assert (tmp_path / "peer").read_text() == "in the way"


def test_a_second_join_in_the_same_folder_and_a_finished_run(run: SwarmRun) -> None:
    first = run.join("only")
    first.named("note", 20)
    second = command("join", run.invite, "--yes", "--data-dir", str(run.folder / "only"))
    assert_says(second, 2, "Another peer", "--data-dir")
    assert first.finish(40) == 0, first.stderr
    late = command("join", run.invite, "--yes", "--data-dir", str(run.folder / "late"))
    assert late.returncode == 0
    assert "is finished after 3 rounds" in late.stdout


@pytest.mark.long
def test_altered_files_are_refused_or_fetched_again(tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=4, every=2) as own:
        own.launch()
        peer = own.join("peer")
        assert peer.finish(40) == 0, peer.stderr
        with own.client() as client:
            kept = sorted(client.checkpoints(), key=lambda item: item.round)
        blobs = tmp_path / "coordinator" / "blobs"
        torn = blobs / kept[-1].sha256
        torn.write_bytes(torn.read_bytes()[:-4096])
        got = command("checkpoints", "get", own.invite, "--output", str(tmp_path / "out.safetensors"))
        assert_says(got, 12, torn.name)
        assert not (tmp_path / "out.safetensors").exists()
        stop(own.programs[0])
        own.launch()
        with own.client() as client:
            assert client.get_run().latest.round == kept[-2].round
            assert any("torn or was altered" in line for line in client.status().decisions)


def stop(program: Program) -> None:
    program.interrupt()
    assert program.finish(10) == 0
    assert program.stderr == ""
