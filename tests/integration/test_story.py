"""The whole story of `runs/garage-legal-en-de`, as a reader would run it: its script, a real registry, another user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry import registry

pytestmark = [pytest.mark.processes, pytest.mark.long, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
STORY = ROOT / "runs" / "garage-legal-en-de" / "story.sh"
OTHER = "nobody"


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that others may look into: pytest's own are for their owner alone."""
    made = Path(tempfile.mkdtemp(prefix="story-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def can_run(program: Path, user: str) -> bool:
    """Whether somebody else on this machine can run what is installed here."""
    words = ["runuser", "-u", user, "--", str(program), "--version"]
    return os.geteuid() == 0 and subprocess.run(words, check=False, capture_output=True).returncode == 0


def test_from_data_to_a_model_that_answers_elsewhere(folder: Path) -> None:
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed (scripts/debian_packages.sh)")
    tools = Path(sys.executable).parent
    other = {"OTHER_USER": OTHER} if can_run(tools / "swarm", OTHER) else {}
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), **other}
    with registry(folder / "registry") as served:
        words = ["bash", str(STORY), str(folder / "story"), served.host]
        ended = subprocess.run(
            words, env=environment, check=False, capture_output=True, text=True, timeout=800, errors="replace"
        )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said[-4000:]
    for words_ in ("The finding F1 (high) is open", "1 of 2 signatures are there", "none of whom is trusted here"):
        assert words_ in said
    assert "I translate; I give no legal advice." in ended.stdout.splitlines(), "the filter of the caps"
    assert (folder / "story" / "elsewhere" / "model" / "bundle.json").is_file()
    if other:
        assert (folder / "story" / "elsewhere" / "model").stat().st_uid == pwd.getpwnam(OTHER).pw_uid
