"""Traces of rounds: the peers of a run meet in one trace a round, and nothing is loaded where nobody asked for them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from peer import tracing
from peer.spans import Spans, _Ids
from peer.tracing import span_of, trace_of
from peer.workbench import RoundDone, Work


class Traced:
    """Spans of one member that are kept here."""

    def __init__(self, member: str, ratio: float = 1.0) -> None:
        self._kept = InMemorySpanExporter()
        sampler = ParentBased(TraceIdRatioBased(ratio))
        provider = TracerProvider(resource=Resource({}), id_generator=_Ids(), sampler=sampler)
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.spans = Spans(provider, "law", member, 0)

    def round(self, number: int, why: str = "") -> None:
        """As a peer does one."""
        work = Work(time.monotonic() - 3.0, samples=8, loss=16.0, trained=time.monotonic() - 1.0)

        async def exchange() -> None:
            with self.spans.exchange(number) as span:
                with self.spans.part("matchmaking"):
                    await asyncio.sleep(0)
                with self.spans.part("gather"):
                    await asyncio.sleep(0)
                if why:
                    self.spans.failed(span, why)

        asyncio.run(exchange())
        done = RoundDone(number, "d", 24, 24, 3, work, 3.0, apply_seconds=0.002, dropped_why=why)
        self.spans.round_done(done)

    @property
    def told(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._kept.get_finished_spans()}


def ids(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def test_a_rounds_parts_are_inside_it() -> None:
    traced = Traced("m1")
    traced.round(4)
    told = traced.told
    assert set(told) == {"round", "train", "wait", "exchange", "matchmaking", "gather", "apply"}
    trace, own = ids(told["round"])
    assert (trace, own) == (trace_of("law", 0, 4), span_of(trace, "m1"))
    assert told["round"].parent is None
    for name in ("train", "wait", "exchange", "apply"):
        assert told[name].parent is not None
        assert told[name].parent.span_id == own  # type: ignore[union-attr]
    for name in ("matchmaking", "gather"):
        assert told[name].parent.span_id == ids(told["exchange"])[1]  # type: ignore[union-attr]
    assert {ids(span)[0] for span in told.values()} == {trace}
    assert len({ids(span)[1] for span in told.values()}) == len(told)


def test_times_are_those_of_the_round() -> None:
    traced = Traced("m1")
    traced.round(4)
    told = traced.told
    assert seconds(told["train"]) == pytest.approx(2.0, abs=0.05)
    assert seconds(told["wait"]) == pytest.approx(1.0, abs=0.2)
    assert seconds(told["round"]) == pytest.approx(3.0, abs=0.2)
    assert abs((told["round"].end_time or 0) / 1e9 - time.time()) < 1
    assert told["round"].attributes is not None
    assert told["round"].attributes["loss"] == 2.0


def test_peers_meet_in_one_trace_and_rounds_and_lineages_do_not() -> None:
    first, second = Traced("m1"), Traced("m2")
    first.round(4)
    second.round(4)
    assert ids(first.told["round"])[0] == ids(second.told["round"])[0]
    assert ids(first.told["round"])[1] != ids(second.told["round"])[1]
    assert len({trace_of("law", 0, 4), trace_of("law", 0, 5), trace_of("law", 1, 4), trace_of("other", 0, 4)}) == 4


def test_a_failure_says_why() -> None:
    traced = Traced("m1")
    traced.round(4, "the swarm agreed without this peer")
    for name in ("round", "exchange"):
        assert traced.told[name].status.description == "the swarm agreed without this peer"


def test_sampling_keeps_the_same_rounds_at_every_peer() -> None:
    kept = []
    for member in ("m1", "m2"):
        traced = Traced(member, ratio=0.5)
        for number in range(40):
            traced.round(number)
        spans = traced._kept.get_finished_spans()
        rounds = {ids(span)[0] for span in spans if span.name == "round"}
        assert rounds == {ids(span)[0] for span in spans}
        kept.append(rounds)
    assert kept[0] == kept[1]
    assert 5 < len(kept[0]) < 35


def test_nothing_is_loaded_where_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    code = "import sys; from peer import tracing; print(tracing.wanted(print), 'opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None False\n"


def test_a_missing_library_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert tracing.wanted(print) is Spans
    monkeypatch.setitem(sys.modules, "peer.spans", None)
    said: list[str] = []
    assert tracing.wanted(said.append) is None
    assert "pip install 'garage-swarm[traces]'" in said[0]
