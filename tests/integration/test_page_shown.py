"""`swarm launch --page` and `swarm page` as people run them, with a peer that trains."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

import pytest

from tests.swarm_run import SwarmRun, after_round, is_invite

pytestmark = [pytest.mark.processes, pytest.mark.timeout(110)]


def fetched(address: str, word: str = "") -> Any:
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {word}"} if word else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@pytest.mark.long
def test_a_run_is_shown_while_it_trains_and_a_volunteer_finds_its_part(run: SwarmRun) -> None:
    where = ["--data-dir", str(run.folder / run.home), "--host", run.host, "--port", str(run.port)]
    coordinator = run.command("launch", str(run.spec), *where, "--page", "0")
    run.invite = coordinator.wait_for(is_invite, 60)["text"]
    said = coordinator.wait_for(lambda event: "page: http" in str(event.get("text", "")), 20)["text"]
    address = said.partition("page: ")[2]
    assert address.startswith("http://127.0.0.1:"), "nobody else reaches it without --page-host"
    anna = run.join("anna")
    anna.wait_for(after_round(3), 60)
    link = run.command("page", run.invite, "--at", address, "--data-dir", str(run.folder / "anna"))
    assert link.finish(30) == 0, link.stderr
    word = link.events[-1]["text"].partition("#me=")[2]
    mine = fetched(f"{address}/api/me", word)
    assert (mine["name"], mine["rejected"]) == ("anna", 0)
    assert mine["counted"] > 0
    shown = shown_rounds(address, 3)
    assert shown["now"]["members"] == 1
    assert shown["curves"]["loss"][0] > 1
    assert {entry["name"] for entry in shown["leaders"]} == {"anna"}
    anna.interrupt()
    assert anna.finish(30) == 0, anna.stderr
    coordinator.interrupt()
    assert coordinator.finish(20) == 0, coordinator.stderr
    assert coordinator.stderr == ""


def shown_rounds(address: str, count: int) -> Any:
    """What the page shows once it knows of so many rounds."""
    for _ in range(60):
        shown = fetched(f"{address}/api/run")
        if len(shown["rounds"]) >= count:
            return shown
        time.sleep(0.5)
    raise AssertionError(shown["rounds"])
