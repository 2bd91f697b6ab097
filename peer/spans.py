"""A peer's rounds as OpenTelemetry's spans, sent by OTLP: round → train, wait, exchange (its parts), apply.

A round's own span is made when the round is done, because only then is known when it began; its id is not drawn but
derived (`peer.tracing`), so that the exchange's spans, which are made while they last, can name it before.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision

from peer.tracing import span_of, trace_of
from peer.workbench import RoundDone
from swarm.version import __version__

_CLOSE_SECONDS = 1.0  # a peer that leaves has few
_SHORTEST = 0.001  # seconds that are worth a span of waiting
_derived: ContextVar[tuple[int, int] | None] = ContextVar("derived", default=None)  # trace and span of what begins now


class _Ids(RandomIdGenerator):
    """Random ids, but for a round's own span."""

    def generate_trace_id(self) -> int:
        derived = _derived.get()
        return derived[0] if derived else super().generate_trace_id()

    def generate_span_id(self) -> int:
        derived = _derived.get()
        return derived[1] if derived else super().generate_span_id()


class Spans:
    """One worker's. Times are seconds of the monotonic clock."""

    def __init__(self, provider: TracerProvider, run: str, member: str, lineage: int) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("garage-swarm", __version__)
        self._run = run
        self._member = member
        self._lineage = lineage
        self._departed: dict[int, float] = {}  # by round, when its first exchange began

    @classmethod
    def start(cls, run: str, member: str, lineage: int) -> Spans:
        """Send to where OpenTelemetry's own environment variables say. Starts a thread: not before hivemind forked."""
        name = os.environ.get("OTEL_SERVICE_NAME", "garage-swarm-peer")
        about = {"service.name": name, "service.version": __version__, "service.instance.id": member}
        resource = Resource.create({**about, "garage_swarm.run": run, "garage_swarm.member": member})
        provider = TracerProvider(resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider, run, member, lineage)

    @contextmanager
    def exchange(self, round_: int) -> Iterator[trace.Span]:
        """One try to exchange in a round."""
        self._departed.setdefault(round_, time.monotonic())
        with self._tracer.start_as_current_span("exchange", self._inside(round_)) as span:
            yield span

    def part(self, name: str) -> AbstractContextManager[trace.Span]:
        """A part of what lasts now in this task."""
        return self._tracer.start_as_current_span(name)

    def failed(self, span: trace.Span, why: str) -> None:
        """It came to nothing."""
        span.set_status(trace.StatusCode.ERROR, why)

    def round_done(self, done: RoundDone) -> None:
        """A round ended now: its own span, and those of its parts that are known only afterwards."""
        work, now = done.work, time.monotonic()
        own = trace_of(self._run, self._lineage, done.round)
        departed = self._departed.get(done.round, work.trained or now)
        self._departed = {round_: at for round_, at in self._departed.items() if round_ > done.round}
        token = _derived.set((own, span_of(own, self._member)))
        try:
            span = self._tracer.start_span("round", Context(), attributes=_facts(done), start_time=_wall(work.started))
        finally:
            _derived.reset(token)
        if done.dropped_why:
            self.failed(span, done.dropped_why)
        inside = trace.set_span_in_context(span)
        self._was("train", inside, work.started, work.trained)
        self._was("wait", inside, work.trained or work.started, departed)
        self._was("apply", inside, now - done.apply_seconds, now)
        span.end(_wall(now))

    def close(self) -> None:
        """Send what is left, for one second at most; what does not get away until then is lost."""
        sending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(_CLOSE_SECONDS)

    def _was(self, name: str, inside: Context, began: float, ended: float) -> None:
        if ended - began >= _SHORTEST:
            self._tracer.start_span(name, inside, start_time=_wall(began)).end(_wall(ended))

    def _inside(self, round_: int) -> Context:
        """As if the round's own span were there already. Sampling goes by the trace's id: so all peers
        keep the same ones.
        """
        own = trace_of(self._run, self._lineage, round_)
        kept = self._provider.sampler.should_sample(None, own, "round").decision is Decision.RECORD_AND_SAMPLE
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if kept else trace.TraceFlags.DEFAULT)
        parent = trace.SpanContext(own, span_of(own, self._member), is_remote=True, trace_flags=flags)
        return trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())


def _wall(monotonic: float) -> int:
    """Nanoseconds of the Unix clock."""
    return time.time_ns() - int(1e9 * (time.monotonic() - monotonic))


def _facts(done: RoundDone) -> dict[str, int | float | str]:
    return {
        "round": done.round,
        "samples": done.work.samples,
        "swarm_samples": done.swarm_samples,
        "members": done.members,
        "loss": done.work.mean_loss,
        "compute_seconds": done.work.compute,
        "bytes_sent": done.bytes_sent,
        "bytes_received": done.bytes_received,
        "digest": done.digest,
    }
