"""A bundle to the Hugging Face Hub, which here is a small one on loopback; huggingface_hub is the real one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from swarm.errors import RefusedError, UnreachableError, UsageError
from tests.small_bundle import content, small_bundle
from tests.small_hub import TOKEN, small_hub
from tests.swarm_run import free_port, swarm_words


def push(
    bundle: Path, endpoint: str, token: str = TOKEN, target: str = "hf:org/name"
) -> subprocess.CompletedProcess[str]:
    places = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(bundle.parent / "hf"),
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_XET": "1",
    }
    environment = {**places, "SWARM_HOME": str(bundle.parent / "home"), "PATH": "/usr/bin:/bin"}
    command = swarm_words("push", str(bundle), target)
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)


def test_a_repository_of_the_hub_becomes_the_bundle(tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle")
    (tmp_path / "bundle" / "notes-of-mine.txt").write_text("not of the bundle")
    with small_hub() as hub:
        hub.files["pytorch_model.bin"] = b"of an earlier version"
        done = push(tmp_path / "bundle", hub.endpoint)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == f"{hub.endpoint}/org/name/commit/{'c' * 40}"
        (tmp_path / "bundle" / "notes-of-mine.txt").unlink()
        assert hub.files == content(tmp_path / "bundle")

        (tmp_path / "bundle" / "bundle.json").touch()
        before = sum(request.startswith("PUT") for request in hub.asked)
        assert push(tmp_path / "bundle", hub.endpoint).returncode == 0
        assert sum(request.startswith("PUT") for request in hub.asked) == before  # large files are not sent again


def test_why_the_hub_did_not_take_it_is_said(tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle")
    with small_hub() as hub:
        done = push(tmp_path / "bundle", hub.endpoint, token="wrong")
        assert done.returncode == RefusedError.exit_code, done.stderr
        assert "hf auth login" in done.stderr
        assert push(tmp_path / "bundle", hub.endpoint, target="hf:name").returncode == UsageError.exit_code
    done = push(tmp_path / "bundle", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == UnreachableError.exit_code, done.stderr
    assert "Traceback" not in done.stderr
