"""The container files: linted, not root, and installed by the README's own step. Images are built elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
_HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile, without comments."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


@pytest.mark.skipif(_HADOLINT is None, reason="hadolint has no build for this machine")
def test_it_is_linted() -> None:
    assert _HADOLINT
    ended = subprocess.run([_HADOLINT, "--no-color", str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_it_installs_as_the_readme_says() -> None:
    step = re.search(r"^pip install (-c constraints.txt .)\s", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert step
    assert ("RUN", f"pip install --no-cache-dir {step[1]}") in instructions()


def test_nothing_runs_as_root() -> None:
    stages: dict[str, list[str]] = {}
    parents: dict[str, str] = {}
    for instruction, arguments in instructions():
        if instruction == "FROM":
            parent, _, name = arguments.partition(" AS ")
            parents[name], stages[name] = parent, []
        elif instruction == "USER":
            stages[name].append(arguments)
    for target in ("peer", "coordinator"):
        assert (stages[target] or stages[parents[target]])[-1] == "1000"


def test_the_build_gets_what_the_package_needs_and_no_more() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((ROOT / name).exists() for name in kept)
    assert kept >= {"swarm", "peer", "coordinator", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"}


def test_the_whole_swarm_of_the_compose_file() -> None:
    composed = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    services = composed["services"]
    assert {name: service["build"]["target"] for name, service in services.items()} == {
        "coordinator": "coordinator",
        "peer": "peer",
    }
    spec = ROOT / "docker" / services["coordinator"]["volumes"][-1].split(":")[0]
    invite = f"runs/{spec.stem}/invite"
    assert spec.exists()
    copied, to = services["coordinator"]["healthcheck"]["test"][2:]
    assert copied.endswith(invite)
    assert services["peer"]["command"][0] == to
    assert not any(volume.startswith("coordinator:") for volume in services["peer"]["volumes"])  # it holds the keys
