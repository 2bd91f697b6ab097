"""Work in a child process of its own, because it loads torch: its lines, its errors, its certain end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from swarm import lifetime
from swarm.errors import SwarmError, from_code

Line = dict[str, Any]


def run_child(module: str, arguments: list[str], report: Path, take: Callable[[Line], None]) -> None:
    """Run `python -m module`; `take` gets each line of JSON that it prints, `report` what else it says.

    Raises what the child found, OSError, and SwarmError when it ended in another way.
    """
    with report.open("wb") as errors, _scratch(report.with_suffix(".tmp")) as scratch:
        code, last = _run([sys.executable, "-m", module, *arguments], scratch, errors, take)
    if "error" in last:
        raise from_code(last["error"], last["what"], last["remedy"])
    if code != 0:
        raise SwarmError(f"{module} ended unexpectedly (exit code {code}).", f"Its report is in {report}.")


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A place for what torch leaves in TMPDIR; beside the report, where even a kill -9 does no harm."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], scratch: Path, errors: IO[bytes], take: Callable[[Line], None]) -> tuple[int, Line]:
    """Exit code and last line of the child; it ends when this function does, also by Ctrl-C."""
    last: Line = {}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        # torch makes its cache's folder as soon as it is imported; these children compile nothing
        env={**lifetime.child_environment(), "TMPDIR": str(scratch), "TORCHINDUCTOR_CACHE_DIR": str(scratch / "torch")},
        start_new_session=True,
    ) as child:
        try:
            for line in child.stdout or ():
                last = _parsed(line)
                take(last)
        except BaseException:
            child.kill()  # also when Ctrl-C ends the reading
            raise
    return child.returncode, last


def _parsed(line: str) -> Line:
    """A line of the child; what is no JSON object came from a library and says nothing."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
