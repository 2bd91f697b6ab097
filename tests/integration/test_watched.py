"""A whole swarm that is watched: metrics are scraped, spans and points arrive, logs are JSON, and the docs name all."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from peer.tracing import trace_of
from tests.harness import Event, Program
from tests.swarm_run import SwarmRun, after_round, rounds, swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]

DOCS = Path(__file__).parents[2] / "docs"
NAME = re.compile(r"\b(?:garage_swarm|process)_[a-z_]+\b")
URL = re.compile(r"http://[\w.:]+/metrics")
ROUNDS = 8
MORE = """
[evaluation]
every_rounds = 4
[tracking]
trackers = ["tensorboard"]
"""


@dataclass
class Receiver:
    """An OTLP receiver over HTTP: what it was sent, as (service, trace, name, span, parent)."""

    spans: list[tuple[str, int, str, bytes, bytes]] = field(default_factory=list)
    url: str = ""

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    trace = int.from_bytes(span.trace_id, "big")
                    told = (about["garage_swarm.member"], trace, span.name, span.span_id, span.parent_span_id)
                    self.spans.append(told)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Watched:
    """What was seen of a run that is over."""

    run: SwarmRun
    peers: list[Program]
    of_coordinator: str
    of_peer: str


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Watched]:
    # Rounds last longer than an evaluation: whoever measures the model would miss those that end meanwhile.
    with swarm_run(tmp_path_factory.mktemp("watched"), rounds=ROUNDS, batch=480, letters=300_000) as run:
        run.spec.write_text(run.spec.read_text() + MORE)
        run.environment = {"SWARM_LOG_FORMAT": "json", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        coordinator = run.launch(60, "--metrics", "0")
        peers = [run.join(name, "--metrics", "0") for name in ("anna", "ben")]
        urls = [found(program) for program in (coordinator, peers[0])]
        peers[0].wait_for(after_round(5), 60)
        told = [scraped(url) for url in urls]
        for peer in peers:
            assert peer.finish(60) == 0, peer.stderr
        coordinator.interrupt()
        assert coordinator.finish(15) == 0, coordinator.stderr
        yield Watched(run, peers, *told)


def found(program: Program) -> str:
    """Where a program says that its metrics are."""
    said = [event for event in program.events if is_address(event)]
    return str(URL.findall((said[0] if said else program.wait_for(is_address, 30))["text"])[0])


def is_address(event: Event) -> bool:
    return bool(URL.search(str(event.get("text"))))


def scraped(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def names(text: str) -> set[str]:
    """The metrics of a scrape, also those that have no value now."""
    return {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")}


def value(text: str, sample: str) -> float:
    [line] = [line for line in text.splitlines() if line.startswith(f"{sample} ")]
    return float(line.rpartition(" ")[2])


def test_a_scrape_tells_of_the_run_and_of_the_peer(watched: Watched) -> None:
    told, peer = watched.of_coordinator, watched.of_peer
    assert value(told, "garage_swarm_round") >= 5
    assert value(told, "garage_swarm_round_agreed") == 1
    assert 0 < value(told, "garage_swarm_round_loss") < 10
    assert value(told, 'garage_swarm_grpc_calls_total{code="OK",method="Heartbeat"}') > 0
    assert value(told, 'garage_swarm_decisions_total{kind="MemberJoined"}') == 2
    assert value(peer, 'garage_swarm_peer_info{run="test",version="0.1.0"}') == 1
    assert value(peer, 'garage_swarm_peer_rounds_total{device="cpu",outcome="counted"}') >= 5
    assert value(peer, 'garage_swarm_peer_update_bytes_total{device="cpu",direction="sent"}') > 0
    assert value(peer, "garage_swarm_peer_may_train") == 1


def exposed(watched: Watched) -> set[str]:
    """The names of both programs' metrics, without the times at which counters began."""
    told = names(watched.of_coordinator) | names(watched.of_peer)
    return {name for name in told if not name.endswith("_created")}


def test_the_docs_name_every_metric_and_no_other(watched: Watched) -> None:
    lines = (DOCS / "metrics.md").read_text().splitlines()
    listed = {name for line in lines if line.startswith(("| `", "Both also")) for name in NAME.findall(line)}
    assert exposed(watched) == listed


def test_the_dashboard_shows_every_metric_and_no_other(watched: Watched) -> None:
    panels = json.loads((DOCS / "grafana" / "garage-swarm.json").read_text())["panels"]
    asked = " ".join(target["expr"] for panel in panels for target in panel.get("targets", []))
    shown = {name.removesuffix("_bucket") for name in NAME.findall(asked)}
    assert shown <= exposed(watched)
    assert {name for name in exposed(watched) - shown if name.startswith("garage_swarm")} == set()


def test_all_spans_of_a_round_are_in_one_trace(watched: Watched, receiver: Receiver) -> None:
    first, second = ({event["round"] for event in rounds(peer)} for peer in watched.peers)
    made = first & second
    for number in made:
        spans = [span for span in receiver.spans if span[1] == trace_of("test", 0, number)]
        own = {member: span for member, _, name, span, _ in spans if name == "round"}
        assert len(own) == 2
        for member, whole in own.items():
            parts = {name for who, _, name, _, parent in spans if who == member and parent == whole}
            assert {"exchange", "apply"} <= parts
            inner = {name for who, _, name, _, _ in spans if who == member}
            assert {"matchmaking", "allreduce", "commit"} <= inner
    assert len(made) >= 4


def test_the_tracker_got_every_round_and_evaluation(watched: Watched) -> None:
    kept = EventAccumulator(str(watched.run.folder / watched.run.home / "tensorboard")).Reload()
    assert {event.step for event in kept.Tensors("loss")} == set(range(ROUNDS))
    assert {event.step for event in kept.Tensors("heldout_loss")} >= {0, 4, ROUNDS}


def test_logs_are_json_and_say_what_they_are_about(watched: Watched) -> None:
    folder = watched.run.folder
    for path in (folder / watched.run.home / "coordinator.log", folder / "anna" / "peer.log"):
        told = [json.loads(line) for line in path.read_text().splitlines()]
        assert {line["run"] for line in told} == {"test"}
        assert {"time", "level", "logger", "message"} <= set(told[0])
        assert any("member" in line for line in told)
        assert any("round" in line for line in told)
