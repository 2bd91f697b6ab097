"""Units of trials: how many one and two volunteers answer in a minute, what each costs, and what asking twice costs.

    python benchmarks/bench_trials.py [--quick]

A coordinator and volunteers (`swarm join --work trials`) in processes of their own, one thread each, for a model of a
million parameters: a campaign over its held-out samples with one volunteer, then another one with two that came by
different invites. Rates are counted from the first answer on, when the checkpoint is here. Bytes are TCP's payload in
both directions between a volunteer and the coordinator, with TLS; those before its first answer fetch the checkpoint.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import record
from swarm.cli.trialing import Machine, examined, heldout, of_run
from swarm.invite import Invite
from swarm.maintaining import MaintainerClient
from swarm.proto import coordinator_pb2 as pb
from swarm.trials.client import TrialClient
from swarm.trials.names import EVALUATE, HELDOUT, TOLERANCE
from swarm.trials.record import read
from tests.harness import Event, Program
from tests.swarm_run import SwarmRun, swarm_run

SECONDS = 120.0  # for anything


class Tap:
    """Hands on what comes to a port of its own, and counts it."""

    def __init__(self, port: int) -> None:
        self.bytes = 0
        self.port = 0
        self._to = port
        self._loop = asyncio.new_event_loop()

    def start(self) -> None:
        """Until the process ends."""
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        await asyncio.gather(self._carry(reader, back), self._carry(there, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # who leaves hangs up
            while data := await reader.read(65536):
                self.bytes += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()


class Trials:
    """A run whose first checkpoint is evaluated in units."""

    def __init__(self, run: SwarmRun, units: int) -> None:
        self.run = run
        self.units = units
        own = Invite.parse((run.folder / run.home / "maintainer-invite").read_text().strip())
        self.maintainer = MaintainerClient.connect(own)
        self.first = Invite.parse(run.invite)
        self.other = replace(own, token=self.maintainer.make_invite("volunteer", 1.0, "others").token)

    def campaign(self) -> str:
        """Its id."""
        with self.run.client() as client:
            items = client.get_run().data.heldout_samples
        units = {"unit_items": -(-items // self.units), "seconds": 600.0, "tolerance": TOLERANCE[EVALUATE]}
        return str(self.maintainer.start_campaign(pb.Campaign(kind=EVALUATE, suite=HELDOUT, **units)).id)

    def volunteer(self, name: str, invite: Invite, tap: Tap | None = None) -> Program:
        self.run.invite = str(replace(invite, port=tap.port) if tap else invite)
        return self.run.join(name, "--work", "trials")

    def ended(self) -> int:
        """How many campaigns have."""
        with TrialClient.connect(self.first) as client:
            return len(read(client.record()).campaigns)


def answered(event: Event) -> bool:
    return "answered unit" in event.get("text", "")


def count(one: Program) -> int:
    """Units that it answered."""
    return len([event for event in one.events if answered(event)])


def alone(trials: Trials) -> dict[str, float]:
    """One volunteer: its answers settle nothing, for a unit needs those of two keys."""
    tap = Tap(trials.first.port)
    tap.start()
    campaign, one = trials.campaign(), trials.volunteer("anna", trials.first, tap)
    one.wait_for(answered, SECONDS)
    began, fetched = time.monotonic(), tap.bytes
    for _ in range(trials.units - 1):
        one.wait_for(answered, SECONDS)
    minutes, counted = (time.monotonic() - began) / 60, tap.bytes - fetched
    one.interrupt()
    one.finish(20)
    trials.maintainer.stop_campaign(campaign, "measured")
    return {
        "answers_per_minute": (trials.units - 1) / minutes,
        "bytes_per_unit": counted / (trials.units - 1),
        "bytes_before_the_first_answer": fetched,
    }


def together(trials: Trials) -> dict[str, float]:
    """Two volunteers, who settle all units."""
    before = trials.ended()
    trials.campaign()
    volunteers = [trials.volunteer("anna", trials.first), trials.volunteer("ben", trials.other)]
    for one in volunteers:
        one.wait_for(answered, SECONDS)
        one.drain()
    began, done = time.monotonic(), sum(map(count, volunteers))
    while trials.ended() == before and time.monotonic() - began < 600:
        time.sleep(0.6)  # a coordinator answers 120 times a minute
    minutes = (time.monotonic() - began) / 60
    for one in volunteers:
        one.interrupt()
        one.finish(20)
    answers = sum(map(count, volunteers))
    return {"answers_per_minute": (answers - done) / minutes, "answers": answers, "units": trials.units}


def at_once(trials: Trials) -> float:
    """Seconds for all items in one process, as `swarm evaluate` does it; the checkpoint is here."""
    with TrialClient.connect(trials.first) as client:
        checkpoint = min(client.checkpoints(), key=lambda item: item.round)
        subject = of_run(client, checkpoint, trials.run.folder / "anna", print)
    began = time.monotonic()
    examined(subject, Machine("cpu", 1), trials.run.folder / "examine.log", what=heldout(subject))
    return time.monotonic() - began


def measured(trials: Trials) -> dict[str, Any]:
    one, two = alone(trials), together(trials)
    settled = two["answers_per_minute"] * two["units"] / two["answers"]
    return {
        "one": one,
        "two": {**two, "settled_units_per_minute": settled},
        "answers_for_each_settled_unit": two["answers"] / two["units"],
        "settled_by_two_over_answered_by_one": settled / one["answers_per_minute"],
        "seconds_for_all_items_at_once": at_once(trials),
        "seconds_for_all_units_by_one": trials.units * 60 / one["answers_per_minute"],
    }


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="two units each; writes nothing")
    quick = parser.parse_args().quick
    letters, units = (100_000, 2) if quick else (400_000, 6)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        swarm_run(Path(name), rounds=100, letters=letters) as run,
    ):
        run.launch()
        figures = measured(Trials(run, units))
    record("trials", figures, quick)


if __name__ == "__main__":
    main()
