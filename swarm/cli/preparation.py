"""Preparation of a run in a child process of its own, because it loads torch: tokenizer, shards, first model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from swarm import lifetime
from swarm.errors import SwarmError, from_code, from_os_error

Say = Callable[[str], None]


def prepare(spec_path: Path, folder: Path, say: Say) -> None:
    """Make the artefacts of the spec in `folder`; `say` gets one line per step.

    Raises what the preparation found (DataError, ModelError, …), DiskError.
    """
    report = folder / "prepare.log"
    command = [sys.executable, "-m", "peer.prepare", "--spec", str(spec_path), "--out", str(folder)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with report.open("wb") as errors, _scratch(folder / "tmp") as scratch:
            code, last = _run(command, scratch, errors, say)
    except OSError as error:
        raise from_os_error(error, "preparing the run") from error
    if "error" in last:
        raise from_code(last["error"], last["what"], last["remedy"])
    if code != 0:
        raise SwarmError(f"The preparation ended unexpectedly (exit code {code}).", f"Its report is in {report}.")


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A place for what torch leaves in TMPDIR; inside the run's folder, where even a kill -9 does no harm."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], scratch: Path, errors: IO[bytes], say: Say) -> tuple[int, dict[str, str]]:
    """Exit code and last line of the child; it ends when this function does, also by Ctrl-C."""
    last: dict[str, str] = {}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={**lifetime.child_environment(), "TMPDIR": str(scratch)},
        start_new_session=True,
    ) as child:
        try:
            for line in child.stdout or ():
                last = _parsed(line)
                if "step" in last:
                    say(f"{last['step']}: {last['detail']}")
        except BaseException:
            child.kill()  # also when Ctrl-C ends the reading
            raise
    return child.returncode, last


def _parsed(line: str) -> dict[str, str]:
    """A line of the child; what is no JSON object came from a library and says nothing."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
