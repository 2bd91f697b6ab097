"""What a child of the command line says: a line of JSON for each thing, which `swarm.cli.children.run_child` takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from swarm.errors import SwarmError, from_os_error


def say(line: Mapping[str, Any]) -> None:
    """At once: whoever started this process waits for it."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


@contextmanager
def errors_told(doing: str) -> Iterator[None]:
    """An error in the block is the last line, {"error", "what", "remedy"}, and the exit status the error's own. `doing`
    completes "… failed while {doing}".
    """
    try:
        yield
    except SwarmError as error:
        _fail(error)
    except OSError as error:
        _fail(from_os_error(error, doing))


def _fail(error: SwarmError) -> None:
    say({"error": error.code, "what": error.what, "remedy": error.remedy})
    sys.exit(error.exit_code)
