"""Turn a run spec into what volunteers fetch: `python -m peer.prepare --spec RUN.toml --out DIR`.

Writes what `peer.artefacts` makes. Prints JSON lines: {"step", "detail"} for each step, {"documents", "total"} while
the data is made ready (total is null when it is not known); on an error the last line is {"error", "what", "remedy"}
and the exit status the error's own.

Loads torch only when it runs: each process of the pool in `peer.blocks` imports this module too.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from peer.telling import errors_told, say
from swarm import lifetime


class Lines:
    """Says on stdout what happens, one JSON object a line."""

    def step(self, step: str, detail: str) -> None:
        """What is done now, and what came of it."""
        say({"step": step, "detail": detail})

    def documents(self, done: int, total: int | None) -> None:
        """How many documents are ready, of about how many."""
        say({"documents": done, "total": total})


def main() -> None:
    """The command; see the module."""
    lifetime.follow_parent()
    options = _arguments()
    try:
        with errors_told("preparing the run"):
            _prepare(options)
    except KeyboardInterrupt:
        sys.exit(130)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m peer.prepare", description="Prepare a run.")
    parser.add_argument("--spec", type=Path, required=True, help="the run spec, a TOML file")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes that tokenise")
    return parser.parse_args()


def _prepare(options: argparse.Namespace) -> None:
    from transformers.utils import logging

    from peer.artefacts import Job, Workshop, prepare
    from swarm import runspec

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    spec = runspec.load(options.spec)
    prepare(Job(spec, options.spec.parent, Workshop(options.out), Lines(), options.jobs))


if __name__ == "__main__":
    main()
