"""Logs for people by default, for programs where SWARM_LOG_FORMAT says so."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from swarm import log


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_text_is_the_default(log_file: Path) -> None:
    log.setup(log_file, run="law")
    log.get("x").info("hello %d", 3, extra={"member": "m1"})
    assert log_file.read_text().endswith(" INFO garage-swarm.x: hello 3\n")


def test_json_says_what_a_record_is_about(log_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_LOG_FORMAT", "json")
    log.setup(log_file, run="law")
    log.get("x").warning("für\n%s", "dich")
    log.about(member="m1", round=3)
    log.get("x").info("own")
    log.get("x").info("another's", extra={"member": "m2"})
    first, own, other = lines(log_file)
    assert datetime.fromisoformat(first.pop("time")).tzinfo
    assert first == {"level": "WARNING", "logger": "garage-swarm.x", "message": "für\ndich", "run": "law"}
    assert (own["member"], own["round"]) == ("m1", 3)
    assert (other["member"], other["round"]) == ("m2", 3)


def test_an_exception_stays_on_its_line(log_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_LOG_FORMAT", "json")
    log.setup(log_file, member="m1")
    try:
        raise ValueError("no")
    except ValueError:
        log.get("x").exception("it failed")
    [line] = lines(log_file)
    assert line["exception"].endswith("ValueError: no")
    log.setup(log_file)  # a second set-up is about nothing of the first
    log.get("x").info("again")
    assert "member" not in lines(log_file)[1]
