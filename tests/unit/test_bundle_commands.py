"""`swarm signer`, `release`, `verify`, `inspect`, `recall`: from a key to a recalled bundle."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from swarm import cli
from swarm.bundle.keys import Signer
from swarm.errors import CorruptError, NotFoundError, SwarmError, UnreadyError, UntrustedError, UsageError
from tests import bundles


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def swarm(*arguments: Any) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


def done(*arguments: Any) -> str:
    result = swarm(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def failure(kind: type[SwarmError], *arguments: Any) -> SwarmError:
    result = swarm(*arguments)
    assert isinstance(result.exception, kind), (result.output, result.exception)
    return result.exception


@pytest.fixture
def anna(home: Path) -> Signer:
    return bundles.signer(home, "signer")


def test_a_key_is_private_and_never_replaced(home: Path) -> None:
    made = done("signer", "new").split()[0]
    assert stat.S_IMODE((home / "signer.pem").stat().st_mode) == 0o600
    assert done("signer", "show").split()[0] == made
    failure(UsageError, "signer", "new")
    assert done("signer", "show").split()[0] == made


def test_a_key_that_others_may_read_is_refused(home: Path, anna: Signer) -> None:
    (home / "signer.pem").chmod(0o644)
    assert "chmod 600" in failure(UsageError, "signer", "show").remedy


@pytest.mark.parametrize("text", ["", "-----BEGIN PRIVATE KEY-----\n", "x" * 100])
def test_a_damaged_key_is_said(home: Path, anna: Signer, text: str) -> None:
    (home / "signer.pem").write_text(text)
    failure(CorruptError, "signer", "show")


def test_without_a_key_the_command_that_makes_one_is_named(home: Path) -> None:
    assert "swarm signer new" in failure(NotFoundError, "signer", "show").remedy


def test_a_refused_release_lists_everything_and_writes_nothing(home: Path, tmp_path: Path) -> None:
    bundles.export(tmp_path / "model", bundles.spec(findings="high", evaluations=["arc:acc >= 0.5"]))
    before = sorted(tmp_path.rglob("*"))
    for options in ([], ["--check"]):
        said = failure(UnreadyError, "release", "model", *options).what
        assert "3 things are missing" in said
        assert "arc:acc" in said
        assert "record of findings" in said
        assert "names nobody" in said
    assert sorted(tmp_path.rglob("*")) == before
    result = swarm("release", "model", "--check", "--json")
    assert [len(json.loads(result.stdout)["missing"]), result.exception.exit_code] == [3, 29]  # type: ignore[union-attr]


def test_from_the_gate_to_a_verified_bundle(home: Path, anna: Signer, tmp_path: Path) -> None:
    bundles.export(tmp_path / "model", bundles.spec(anna, findings="high"))
    (home / "runs" / "my-run").mkdir(parents=True)
    (home / "runs" / "my-run" / "findings.jsonl").write_text("")
    assert done("release", "model", "--check") == "Everything is there.\n"
    made = json.loads(done("release", "model", "--version", "1.0", "--json"))
    assert (made["bundle"], made["signers"]) == ("my-run-1.0", [anna.public.fingerprint])
    failure(UntrustedError, "verify", "my-run-1.0")
    assert "whole and signed by" in done("verify", "my-run-1.0", "--signer", anna.public.fingerprint)
    assert "--yes" in failure(UsageError, "verify", "my-run-1.0", "--trust").remedy
    assert not (home / "signers.json").exists()
    done("verify", "my-run-1.0", "--trust", "--yes")
    assert json.loads(done("verify", "my-run-1.0", "--json"))["digest"] == made["digest"]


def test_other_signers_than_before_are_said(home: Path, anna: Signer, tmp_path: Path) -> None:
    ben = bundles.signer(tmp_path, "ben")
    for signer, name in ((anna, "one"), (ben, "two")):
        bundles.released(tmp_path / name, signer)
    done("verify", "one/bundle", "--trust", "--yes")
    assert "none of whom is trusted" in failure(UntrustedError, "verify", "two/bundle").what
    assert "ATTENTION" in swarm("verify", "two/bundle", "--trust").output
    failure(UntrustedError, "verify", "two/bundle")


def test_a_signer_is_forgotten_and_their_bundles_are_refused(home: Path, anna: Signer, tmp_path: Path) -> None:
    one, run = anna.public.fingerprint, bundles.released(tmp_path, anna).bundle.lineage.fingerprint
    assert done("signer", "trusted") == ""
    assert "signer trusted" in failure(NotFoundError, "signer", "forget", one).remedy
    done("verify", "bundle", "--trust", "--yes")
    assert done("signer", "trusted") == f"run {run}: 1 of {one}\n"
    assert json.loads(done("signer", "trusted", "--json")) == {run: {"signers": [one], "needed": 1}}
    assert "nobody any more" in done("signer", "forget", home / "signer.pub")
    failure(UntrustedError, "verify", "bundle")
    done("verify", "bundle", "--trust", "--yes")


def test_whom_a_bundle_names_without_their_signature_is_not_remembered(home: Path, tmp_path: Path) -> None:
    bundles.released(tmp_path, bundles.signer(tmp_path))
    shutil.rmtree(tmp_path / "bundle" / "signatures")
    failure(UntrustedError, "verify", "bundle", "--trust", "--yes")
    assert not (home / "signers.json").exists()


def narrow(command: str, home: Path) -> tuple[int, str]:
    """How the command ends, and what a terminal of 40 columns is told."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 40))
    sized = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"SWARM_HOME": str(home)}
    words = [sys.executable, "-m", "swarm.cli", *command.split()]
    told = bytearray()
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=sized) as running:
        os.close(theirs)
        with suppress(OSError):  # Linux says so when nobody has the other end any more
            while more := os.read(ours, 4096):
                told += more
    os.close(ours)
    return running.returncode, re.sub(r"\x1b\[[0-9;]*m", "", told.decode())


@pytest.mark.processes
@pytest.mark.timeout(60)
def test_at_a_terminal_a_failure_is_shown_without_broken_words(home: Path, tmp_path: Path) -> None:
    code, shown = narrow("inspect a-folder-that-is-not-there", home)
    assert code == NotFoundError.exit_code
    assert shown.splitlines() == ["swarm: There is no folder", "a-folder-that-is-not-there. Name a", "bundle's folder."]


@pytest.mark.processes
@pytest.mark.timeout(60)
def test_no_digest_or_fingerprint_is_broken_at_a_terminal_or_in_a_pipe(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = bundles.released(tmp_path, bundles.signer(tmp_path))
    _, shown = narrow("inspect bundle", home)
    monkeypatch.setenv("COLUMNS", "40")
    piped = done("inspect", "bundle")
    for said in (shown, piped):
        for whole in (found.digest, *found.signers, found.bundle.lineage.fingerprint, bundles.STATE):
            assert any(whole in line for line in said.splitlines()), whole
    line = found.bundle.lineage
    assert f"{line.run}, fingerprint {line.fingerprint}" in piped
    assert f"NOT HERE: it is signed by {', '.join(sorted(found.signers))}, none of whom is trusted here" in piped


def test_a_bundle_is_shown_whole_or_not(home: Path, tmp_path: Path) -> None:
    found = bundles.released(tmp_path, bundles.signer(tmp_path))
    shown = done("inspect", "bundle")
    for words in (found.digest, "Ada", "heldout:loss", bundles.STATE, "Apache-2.0", "model.safetensors"):
        assert words in shown


def test_a_flipped_bit_is_shown_and_ends_inspect_as_it_ends_verify(home: Path, tmp_path: Path) -> None:
    bundles.released(tmp_path, bundles.signer(tmp_path))
    weights = tmp_path / "bundle" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    shown, as_json = swarm("inspect", "bundle"), swarm("inspect", "bundle", "--json")
    assert "NOT VERIFIED: The bundle is refused: model.safetensors" in " ".join(shown.output.split())
    for ended in (shown, as_json):
        assert isinstance(ended.exception, CorruptError)
        assert ended.exception.exit_code == 12
    said = json.loads(as_json.output)
    assert (said["whole"], said["trusted"], said["signers"]) == (False, False, [])
    assert "model.safetensors" in said["why"]
    assert said["bundle"]["lineage"]["state"] == bundles.STATE


def test_whether_somebody_trusted_signed_is_shown_and_is_no_failure(home: Path, tmp_path: Path) -> None:
    found = bundles.released(tmp_path, bundles.signer(tmp_path))
    assert "NOT HERE: it is signed by" in " ".join(done("inspect", "bundle").split())
    said = json.loads(done("inspect", "bundle", "--json"))
    assert (said["whole"], said["trusted"]) == (True, False)
    assert "none of whom is trusted" in said["why"]
    done("verify", "bundle", "--trust", "--yes")
    assert "yes: those whom you trust" in " ".join(done("inspect", "bundle").split())
    said = json.loads(done("inspect", "bundle", "--json"))
    assert (said["trusted"], said["why"], said["signers"]) == (True, "", sorted(found.signers))
    shutil.rmtree(tmp_path / "bundle" / "signatures")
    assert "NOT HERE: it is signed by nobody" in " ".join(done("inspect", "bundle").split())


@pytest.mark.parametrize("command", ["verify", "inspect", "signer sign", "recall --reason x"])
def test_a_folder_that_is_no_bundle_is_said(home: Path, anna: Signer, tmp_path: Path, command: str) -> None:
    assert "no bundle" in failure(NotFoundError, *command.split(), tmp_path).what


def test_only_who_releases_can_recall(home: Path, anna: Signer, tmp_path: Path) -> None:
    found = bundles.released(tmp_path, anna, recall="https://example.org/recalls")
    result = swarm("recall", "bundle", "--reason", "it lies")
    assert f"https://example.org/recalls/{found.digest}.json" in result.output
    assert "takes no copy back" in result.output
    assert json.loads(Path(f"{found.digest}.json").read_text())["notice"]["reason"] == "it lies"
    bundles.signer(tmp_path, "stranger")
    failure(UsageError, "recall", "bundle", "--reason", "x", "--key", "stranger.pem")
