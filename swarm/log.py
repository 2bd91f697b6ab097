"""Logging: one tree of stdlib loggers below `garage-swarm`, to stderr or to a rotating file.

Libraries' own loggers are left alone. What a user must know is an error or a line on the screen, no record. With
SWARM_LOG_FORMAT=json a record is one JSON object on one line: time, level, logger, message, and what it is about as far
as that is known: run, member, round.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from swarm.texts import lines, shown

_ROOT = "garage-swarm"
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_FILE_BYTES = 5_000_000
_FILES_KEPT = 3
_LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}  # hivemind renames those of logging
_ABOUT = ("run", "member", "round")
_about: dict[str, str | int] = {}  # of all records of this process


def get(name: str) -> logging.Logger:
    """The logger of the module `name`."""
    return logging.getLogger(f"{_ROOT}.{name}")


def setup(file: Path | None = None, level: int = logging.INFO, **facts: str | int) -> None:
    """Send records of `level` and above to `file` (5 MB, three older ones kept), or to stderr without one. `facts` are
    what all of them are `about`.

    A second call replaces the first. The folder of `file` is created; raises OSError when that fails.
    """
    logging.raiseExceptions = False  # a log on a full disk must not fill the screen
    root = logging.getLogger(_ROOT)
    handler = _handler(file)
    handler.setFormatter(_Json() if os.environ.get("SWARM_LOG_FORMAT") == "json" else _Text(_FORMAT))
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level)
    root.propagate = False
    _about.clear()
    about(**facts)


def about(**facts: str | int) -> None:
    """From now on all records of this process are about this `run`, `member` or `round`, unless their `extra` says
    something else. Only the JSON format shows it.
    """
    _about.update(facts)


class _Text(logging.Formatter):
    """A record holds what strangers say: it stays one line, and no terminal that shows the log obeys it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, logging's name
        return shown(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        return lines(super().format(record))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, str | int] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": _LEVELS.get(record.levelno, record.levelname),
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= {key: value for key in _ABOUT if (value := getattr(record, key, _about.get(key))) is not None}
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return shown(json.dumps(told, ensure_ascii=False, default=str))


def _handler(file: Path | None) -> logging.Handler:
    if file is None:
        return logging.StreamHandler()
    file.parent.mkdir(parents=True, exist_ok=True)
    return RotatingFileHandler(file, maxBytes=_FILE_BYTES, backupCount=_FILES_KEPT, encoding="utf-8")
