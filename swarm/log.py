"""Logging: one tree of stdlib loggers below `garage-swarm`, to stderr or to a rotating file.

Libraries' own loggers are left alone. What a user must know is an error or a line on the screen, no record.
"""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

_ROOT = "garage-swarm"
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_FILE_BYTES = 5_000_000
_FILES_KEPT = 3


def get(name: str) -> logging.Logger:
    """The logger of the module `name`."""
    return logging.getLogger(f"{_ROOT}.{name}")


def setup(file: Path | None = None, level: int = logging.INFO) -> None:
    """Send records of `level` and above to `file` (5 MB, three older ones kept), or to stderr without one.

    A second call replaces the first. The folder of `file` is created; raises OSError when that fails.
    """
    logging.raiseExceptions = False  # a log on a full disk must not fill the screen
    root = logging.getLogger(_ROOT)
    handler = _handler(file)
    handler.setFormatter(logging.Formatter(_FORMAT))
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level)
    root.propagate = False


def _handler(file: Path | None) -> logging.Handler:
    if file is None:
        return logging.StreamHandler()
    file.parent.mkdir(parents=True, exist_ok=True)
    return RotatingFileHandler(file, maxBytes=_FILE_BYTES, backupCount=_FILES_KEPT, encoding="utf-8")
