"""How often the coordinator is called, with what outcome, and how long that takes: an interceptor before all others.

It measures what the caller waits for, once a thread is free for it; of a stream until it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from prometheus_client import Counter, Histogram, Metric
from prometheus_client.registry import Collector

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0, 60.0)  # seconds


class Calls(grpc.ServerInterceptor, Collector):
    """Counts calls of methods that there are, so that a stranger's names make no series."""

    def __init__(self) -> None:
        self._handlers: dict[str, Any] = {}
        self._count = Counter("garage_swarm_grpc_calls", "Calls answered.", ["method", "code"], registry=None)
        self._seconds = Histogram(
            "garage_swarm_grpc_call_seconds", "How long they took.", ["method"], buckets=_BUCKETS, registry=None
        )

    def collect(self) -> Iterator[Metric]:
        yield from self._count.collect()
        yield from self._seconds.collect()

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        if (found := self._handlers.get(details.method)) is not None:
            return found
        handler = continuation(details)
        if handler is None:
            return handler
        return self._handlers.setdefault(details.method, self._around(details.method.rpartition("/")[2], handler))

    def _around(self, name: str, handler: Any) -> Any:
        """The gate lets all messages come as streams."""
        if handler.response_streaming:
            return handler._replace(stream_stream=self._stream(name, handler.stream_stream))
        return handler._replace(stream_unary=self._answer(name, handler.stream_unary))

    def _answer(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def measured(request: Any, context: grpc.ServicerContext) -> Any:
            with self._measured(name, context):
                return call(request, context)

        return measured

    def _stream(self, name: str, call: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def measured(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._measured(name, context):
                yield from call(request, context)

        return measured

    @contextmanager
    def _measured(self, name: str, context: Any) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            code = context.code() or grpc.StatusCode.OK  # set by who refuses; an answer leaves it open
            self._count.labels(name, code.name).inc()
            self._seconds.labels(name).observe(time.perf_counter() - began)
