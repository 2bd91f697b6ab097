"""`swarm chat` on a pipe and at a terminal, and bundles that are not what they say."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from peer.serving import engine
from peer.serving.opening import Wishes, ready
from swarm.errors import CorruptError, NotFoundError, RefusedError, UntrustedError
from swarm.tensorfile import sha256_file
from tests.harness import ROOT
from tests.served import bundle_with_clock
from tests.tiny_bundle import make_adapter, trusted, wishes

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_with_clock(
        tmp_path_factory.mktemp("chat") / "bundle", notice="Made by volunteers.", answer_tokens=200
    )


def command(bundle: Path, *options: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "swarm.cli",
        "chat",
        str(bundle),
        "--temperature",
        "0",
        "--signer",
        trusted(),
        *options,
    ]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "SWARM_HOME": str(home), "OMP_NUM_THREADS": "1"}


def piped(bundle: Path, home: Path, said: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(bundle, *options),
        input=said,
        capture_output=True,
        text=True,
        env=environment(home),
        timeout=60,
        check=False,
    )


def test_a_pipe(bundle: Path, tmp_path: Path) -> None:
    said = "Hello\n/reset\nWhat time is it?\n\n/nonsense\n/personality\n/reset\na ＢＯＭＢ\n"
    done = piped(bundle, tmp_path, said, "--accept")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Hello to you, and to your cat.\nIt is noon.\nI cannot help with that.\n"
    for part in ("Made by volunteers.", "[clock]", "There is no /nonsense", "grim, merry", "transformers on"):
        assert part in done.stderr
    again = piped(bundle, tmp_path, "Hello\n", "--personality", "grim")
    assert again.returncode == 0, "terms are asked once"
    assert "Made by volunteers." not in again.stderr
    assert again.stdout != "Hello to you, and to your cat.\n"


def test_terms_that_nobody_agreed_to(bundle: Path, tmp_path: Path) -> None:
    done = piped(bundle, tmp_path, "Hello\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--accept" in done.stderr


def test_a_terminal(bundle: Path, tmp_path: Path) -> None:
    """Ctrl-C stops the answer, the call of a plugin included, and not the program; Ctrl-D leaves."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command(bundle, "--accept"),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment(tmp_path),
        start_new_session=True,
    )
    os.close(follower)
    try:
        heard = Heard(leader)
        heard.until(lambda text: text.endswith("> "))
        os.write(leader, b"How late is it on Mars?\n")  # a minute, if nobody ends it
        heard.until(lambda text: "Let me" in text and _is_calling(process.pid))
        process.send_signal(signal.SIGINT)
        heard.until(lambda text: text.endswith("> "), seconds=30)
        assert not psutil.Process(process.pid).children()
        os.write(leader, b"/reset\nHello\n")
        heard.until(lambda text: "your cat." in text and text.endswith("> "))
        os.write(leader, b"\x04")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def _is_calling(pid: int) -> bool:
    """Whether a plugin runs, behind what keeps it in."""
    return len(psutil.Process(pid).children(recursive=True)) > 1


class Heard:
    """What a terminal shows."""

    def __init__(self, leader: int) -> None:
        self.text = ""
        self._leader = leader

    def until(self, wanted: Callable[[str], bool], seconds: float = 60.0) -> None:
        os.set_blocking(self._leader, False)
        end = time.monotonic() + seconds
        while not wanted(re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", self.text).replace("\r", "")):
            assert time.monotonic() < end, self.text
            try:
                self.text += os.read(self._leader, 4096).decode()
            except BlockingIOError:
                time.sleep(0.01)


# ── bundles that are not what they say ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "plugins/clock.py",
        "adapters/grim/adapter_model.safetensors",
    ],
)
def test_a_flipped_bit_is_refused_by_name(bundle: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(CorruptError, match=re.escape(name)):
        ready(copy, wishes())


def test_whose_signature_nobody_trusts_is_not_loaded(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARM_HOME", str(tmp_path))
    monkeypatch.setattr(engine, "load", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(UntrustedError, match=trusted()):
        ready(bundle, Wishes(device="cpu"))


def test_files_too_many_too_few_and_elsewhere(bundle: Path, tmp_path: Path) -> None:
    for name, change in {
        "pytorch_model.bin": lambda copy: (copy / "pytorch_model.bin").write_bytes(b"x"),
        "config.json": lambda copy: (copy / "config.json").unlink(),
        "tokenizer.json": lambda copy: moved(copy / "tokenizer.json", tmp_path / "elsewhere"),
    }.items():
        copy = shutil.copytree(bundle, tmp_path / f"without {name}")
        change(copy)
        with pytest.raises(CorruptError, match=name):
            ready(copy, wishes())


def moved(path: Path, elsewhere: Path) -> None:
    """The same bytes behind a link, where somebody could change them later."""
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


def test_an_adapter_finds_its_base(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_HOME", str(tmp_path / "home"))
    adapter = make_adapter(bundle, tmp_path / "adapter")
    with pytest.raises(NotFoundError, match="--base"):
        ready(adapter, wishes())
    given = ready(adapter, wishes(base=bundle))
    blobs = tmp_path / "home" / "cache" / "blobs"
    blobs.mkdir(parents=True)
    weights = shutil.copy(bundle / "model.safetensors", blobs / "new")
    weights.rename(blobs / sha256_file(weights))
    cached = ready(adapter, wishes())
    assert given.bundle == cached.bundle
    other = shutil.copytree(bundle, tmp_path / "other")
    (other / "model.safetensors").write_bytes(b"another model")
    with pytest.raises(CorruptError, match="is not the base"):
        ready(adapter, wishes(base=other))


def test_plugins_stay_out_where_nothing_keeps_them_in(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peer.serving import sandbox

    monkeypatch.setenv("PATH", "/nowhere")
    sandbox.found.cache_clear()
    try:
        with pytest.raises(RefusedError, match="clock"):
            ready(bundle, wishes())
        assert not ready(bundle, wishes(plugins=False)).answering.plugins.known
    finally:
        sandbox.found.cache_clear()
