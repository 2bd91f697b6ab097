"""What the page costs its coordinator, and what a reader waits for.

python benchmarks/bench_page.py [--quick]

Loading: a run of a month (100,000 rounds, 1,000 members); bytes and seconds of everything that a browser asks for.
Serving: 1,000 members that say they are there every 15 s and report every round, and 200 open pages, beside a
coordinator in a process of its own: its share of a core, its memory, and how long heartbeats take. The members and the
readers are on the same machine, so their work is in the heartbeats' times. The same beside a flood: readers that never
read, requests that are never finished, and connections that are cut again and again. Then 10,000 members whose rounds
last a minute, and how many of the reports that were acknowledged its database holds.
"""

from __future__ import annotations

import argparse
import gzip
import json
import selectors
import shutil
import socket
import sqlite3
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import record
from swarm.client import CoordinatorClient
from swarm.identity import Identity
from swarm.invite import Invite
from swarm.maintaining import MaintainerClient
from swarm.proto import coordinator_pb2 as pb
from tests.harness import Program
from tests.small_run import prepared
from tests.swarm_run import free_port

_SERVER = """
import json, signal, sys, threading
from pathlib import Path
from coordinator.server import Coordinator, Settings
from coordinator.web.server import PageSettings
from swarm.runspec import load
folder, host, port = Path(sys.argv[1]), "127.0.0.1", int(sys.argv[2])
spec = load(folder / "run.toml")
training = spec.training.model_copy(update={"rounds": 1_000_000, "target_batch_size": 8000})
page = PageSettings(host, 0)
spec = spec.model_copy(update={"training": training})
coordinator = Coordinator(Settings(folder, host, port, host, spec, (), heartbeat_seconds=15.0, page=page))
ended = threading.Event()
signal.signal(signal.SIGINT, lambda *_: ended.set())
coordinator.start()
own = str(coordinator.own_invite)
print(json.dumps({"event": "ready", "own": own, "page": coordinator.page_port}), flush=True)
ended.wait()
coordinator.stop()
"""
_FILES = (
    "",
    "static/style.css",
    "static/icon.svg",
    *(f"static/{n}.js" for n in ("app", "charts", "dom", "me", "maintain")),
)
_OF_ONE = 100  # members with one invite: joins are rationed
_BEAT = 15.0  # seconds
_COMING = 4.0  # until all pages are open

# The page's port, how many, and when it ends: what became of them.
Crowd = Callable[[int, int, threading.Event], dict[str, int]]


@contextmanager
def coordinator(folder: Path) -> Iterator[tuple[Program, dict[str, Any]]]:
    """In a process of its own, while the block lasts."""
    program = Program([sys.executable, "-c", _SERVER, str(folder), str(free_port())])
    try:
        yield program, program.named("ready", 120)
        program.interrupt()
        program.finish(30)
    finally:
        program.clean_up()


# ── loading ──────────────────────────────────────────────────────────────────────────────────────


def month(folder: Path, rounds: int, members: int) -> None:
    """Write a long history behind a stopped coordinator's back."""
    prepared(folder)
    with coordinator(folder):
        pass
    began = time.time() - 26 * rounds
    made = (
        (
            "law",
            n,
            began + 26 * n,
            2 + 5 / (1 + n / 900),
            8000,
            40,
            8000 * n,
            20.0,
            4.0,
            10**8,
            10**9,
            True,
            f"{n:064x}",
        )
        for n in range(rounds)
    )
    keys = [f"{number:016x}" for number in range(members)]
    nights = (("law", key, 20_000 + night, 800, 26_000.0) for key in keys for night in range(30))
    people = (
        ("law", key, f"Volunteer {key[-4:]}", b"k", "1", "", 0.0, False, 0, n * 1000, 0) for n, key in enumerate(keys)
    )
    named = "run, id, name, public_key, version, credit, last_seen, live, first_lease, counted, rejected"
    with closing(sqlite3.connect(folder / "coordinator.sqlite")) as tables, tables:
        tables.executemany(f"INSERT INTO logbook_rounds VALUES ({', '.join('?' * 13)})", made)
        tables.executemany("INSERT INTO logbook_nights VALUES (?, ?, ?, ?, ?)", nights)
        tables.executemany(f"INSERT INTO members ({named}) VALUES ({', '.join('?' * 11)})", people)
        last = (
            "law",
            rounds - 1,
            "0" * 16,
            f"{rounds - 1:064x}",
            8000,
            8000 * rounds,
            40,
            0,
            2.0,
            20.0,
            4.0,
            0,
            0,
            0.0,
        )
        tables.execute(f"INSERT INTO votes VALUES ({', '.join('?' * 14)})", last)


def loading(rounds: int, members: int) -> dict[str, float]:
    """The first reader after a start waits longest."""
    folder = Path(tempfile.mkdtemp(prefix="page-"))
    try:
        month(folder, rounds, members)
        began = time.monotonic()
        with coordinator(folder) as (_, ready):
            started = time.monotonic() - began
            first, size, facts = _load(ready["page"])
            again, _, _ = _load(ready["page"])
        assert sum(facts["curves"]["rounds"]) == rounds
        return {
            "rounds": rounds,
            "members": members,
            "start_seconds": round(started, 2),
            "first_load_seconds": round(first, 3),
            "load_seconds": round(again, 3),
            "kilobytes": round(size / 1000, 1),
        }
    finally:
        shutil.rmtree(folder)


def _load(port: int) -> tuple[float, int, dict[str, Any]]:
    """Seconds and bytes of all that a browser asks for, and what is shown."""
    began, size, body = time.monotonic(), 0, b""
    for path in (*_FILES, "api/run"):
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", headers={"Accept-Encoding": "gzip"})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            body = answer.read()
        size += len(body)
    return time.monotonic() - began, size, json.loads(gzip.decompress(body))


# ── serving ──────────────────────────────────────────────────────────────────────────────────────


class Members:
    """So many with one invite, each in its turn; they lease and report in every round."""

    def __init__(self, invite: Invite, first: int, count: int, beats: int) -> None:
        self.took: list[float] = []  # seconds of each heartbeat
        self.failed = 0
        self.reported = 0
        self._beats = beats  # in a round
        self._client = CoordinatorClient.connect(invite)
        self._keys = [Identity.from_seed((first + number).to_bytes(32, "big")) for number in range(count)]
        self._ids: list[str] = []

    def join(self) -> None:
        """Those who are in say so while the others join."""
        due = time.monotonic() + _BEAT
        for number, key in enumerate(self._keys):
            self._ids.append(self._client.join(key, f"Volunteer {number}").member_id)
            if time.monotonic() > due:
                for member in self._ids:
                    self._beat(member)
                due = time.monotonic() + _BEAT
        self.took.clear()

    def work(self, until: float, began: float) -> None:
        """Evenly over the time, until then (monotonic)."""
        step = _BEAT / len(self._ids)
        number = 0
        while (due := began + number * step) < until:
            time.sleep(max(0.0, due - time.monotonic()))
            at, turn = number % len(self._ids), number // len(self._ids)
            try:
                self._beat(self._ids[at])
                if turn % self._beats == 0:
                    self._report(self._ids[at], turn // self._beats)
            except Exception as error:
                self.failed += 1
                print(error, file=sys.stderr)
            number += 1

    def close(self) -> None:
        self._client.close()

    def _beat(self, member: str) -> None:
        beat = pb.HeartbeatRequest(member_id=member, phase="training", samples_per_second=3.0)
        began = time.monotonic()
        self._client.heartbeat(beat)
        self.took.append(time.monotonic() - began)

    def _report(self, member: str, round_: int) -> None:
        lease = self._client.take_lease(member, 8)
        used = [pb.LeasedRange(lease_id=lease.lease_id, range=lease.range)] if lease.lease_id else []
        done = pb.RoundReport(
            round=round_, digest=f"{round_:064x}", counted=used, loss=2.0, group_size=1000, finished_at=time.time()
        )
        self._client.report_rounds(member, [done])
        self.reported += 1


def readers(port: int, count: int, ended: threading.Event) -> dict[str, int]:
    """Open pages."""
    heard, selector = [0] * count, selectors.DefaultSelector()
    for number in range(count):
        line = socket.create_connection(("127.0.0.1", port), 10)
        line.sendall(b"GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n")
        selector.register(line, selectors.EVENT_READ, number)
        time.sleep(0.01)
    while not ended.is_set():
        for key, _ in selector.select(0.5):
            heard[key.data] += key.fileobj.recv(1 << 16).count(b"data: ")  # type: ignore[union-attr]
    for key in list(selector.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]
    return {"messages_of_the_slowest_page": min(heard, default=0)}


def flood(port: int, count: int, ended: threading.Event) -> dict[str, int]:
    """A third asks for news and never reads them, a third never ends its request, a third is cut and comes back."""
    asked = (b"GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: ", b"")
    lines: list[socket.socket | None] = [None] * count
    turned_away = 0
    while not ended.is_set():
        for number, line in enumerate(lines):
            if line is not None and number % 3 != 2:
                continue
            if line is not None:
                line.close()
            try:
                lines[number] = made = socket.create_connection(("127.0.0.1", port), 5)
                made.sendall(asked[number % 3])
            except OSError:
                turned_away += 1
        ended.wait(0.5)
    for line in filter(None, lines):
        line.close()
    return {"turned_away": turned_away}


def serving(members: int, pages: int, seconds: float, beats: int = 2, crowd: Crowd = readers) -> dict[str, float]:
    """The coordinator's costs over so many seconds, after everybody joined; a round lasts so many heartbeats."""
    folder = Path(tempfile.mkdtemp(prefix="page-"))
    try:
        prepared(folder)
        with coordinator(folder) as (program, ready):
            crowds = _crowds(Invite.parse(ready["own"]), members, beats)
            _at_once([crowd.join for crowd in crowds])
            found = _measured(program, crowds, lambda end: crowd(ready["page"], pages, end), seconds)
            found["pages"] = pages
        return found | {"reports_lost": sum(crowd.reported for crowd in crowds) - _kept(folder)}
    finally:
        shutil.rmtree(folder)


def _kept(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "coordinator.sqlite")) as tables:
        return int(tables.execute("SELECT count(*) FROM reports").fetchone()[0])


def _crowds(own: Invite, members: int, beats: int) -> list[Members]:
    from dataclasses import replace

    with MaintainerClient.connect(own) as client:
        made = [client.make_invite("volunteer", 1, "").token for _ in range(-(-members // _OF_ONE))]
    return [
        Members(replace(own, token=token), number * _OF_ONE, min(_OF_ONE, members - number * _OF_ONE), beats)
        for number, token in enumerate(made)
    ]


def _measured(
    program: Program, crowds: list[Members], reading: Callable[[threading.Event], dict[str, int]], seconds: float
) -> dict[str, float]:
    process, ended, heard = psutil.Process(program.process.pid), threading.Event(), dict[str, int]()
    pages = threading.Thread(target=lambda: heard.update(reading(ended)))
    pages.start()
    time.sleep(_COMING)
    before, began = process.cpu_times(), time.monotonic()
    _at_once([lambda crowd=crowd: crowd.work(began + seconds, began) for crowd in crowds])
    spent = time.monotonic() - began
    after, memory = process.cpu_times(), process.memory_info().rss
    ended.set()
    pages.join()
    for crowd in crowds:
        crowd.close()
    took = sorted(second for crowd in crowds for second in crowd.took)
    percent = quantiles(took, n=100)
    return {
        "members": sum(len(crowd._ids) for crowd in crowds),
        "cores": round((after.user + after.system - before.user - before.system) / spent, 3),
        "megabytes": round(memory / 1e6, 1),
        "heartbeats": len(took),
        "heartbeat_p50_ms": round(percent[49] * 1000, 2),
        "heartbeat_p99_ms": round(percent[98] * 1000, 2),
        "failed_calls": sum(crowd.failed for crowd in crowds),
    } | heard


def _at_once(jobs: list[Any]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a shorter history, fewer members; writes nothing")
    quick = parser.parse_args().quick
    history, crowd, large = (
        ((5_000, 200), (100, 40, 4.0), 200) if quick else ((100_000, 1_000), (1_000, 200, 60.0), 10_000)
    )
    found: dict[str, Any] = {"loading": loading(*history)}
    found["serving_without_pages"] = serving(crowd[0], 0, crowd[2])
    found["serving"] = serving(*crowd)
    found["flooded"] = serving(crowd[0], 3 * crowd[1], crowd[2], crowd=flood)
    found["a_large_swarm"] = serving(large, crowd[1], crowd[2], beats=4)
    record("page", found, quick)


if __name__ == "__main__":
    main()
