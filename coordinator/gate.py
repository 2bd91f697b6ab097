"""Who may call, and how refusals travel: as a code of swarm.errors in the metadata, never as text to be matched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.message import Message

from coordinator.admission import Admission, sent_with
from coordinator.handover import Lead
from coordinator.translate import require_bounded
from swarm import log
from swarm.errors import ProtocolError, SwarmError
from swarm.proto import coordinator_pb2 as pb
from swarm.version import PROTOCOL_VERSION

logger = log.get(__name__)

_STATUS = {
    "USAGE": grpc.StatusCode.INVALID_ARGUMENT,
    "HANDED_OVER": grpc.StatusCode.FAILED_PRECONDITION,
    "REFUSED": grpc.StatusCode.PERMISSION_DENIED,
    "INVITE_EXPIRED": grpc.StatusCode.UNAUTHENTICATED,
    "INVITE_REVOKED": grpc.StatusCode.UNAUTHENTICATED,
    "INVITE_UNKNOWN": grpc.StatusCode.UNAUTHENTICATED,
    "PROTOCOL": grpc.StatusCode.FAILED_PRECONDITION,
    "UNKNOWN_RUN": grpc.StatusCode.NOT_FOUND,
    "NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "DISK": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "CORRUPT": grpc.StatusCode.DATA_LOSS,
}

_OF_WHO_LEADS = ("GetHandover", "HandOver")


class Gate(grpc.ServerInterceptor):
    """Checks protocol version and invite of every call but the health check's, and translates errors. What was handed
    over answers only to where.
    """

    def __init__(self, admission: Admission, lead: Lead) -> None:
        self._admission = admission
        self._lead = lead

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        handler = continuation(details)
        if handler is None or details.method.startswith("/grpc.health."):
            return handler
        if handler.response_streaming:
            return handler._replace(unary_stream=self._streaming(handler.unary_stream))
        if handler.request_streaming:
            return handler._replace(stream_unary=self._single(handler.stream_unary))
        leads = details.method.rpartition("/")[2] not in _OF_WHO_LEADS
        return handler._replace(unary_unary=self._single(handler.unary_unary, leads))

    def _single(self, call: Callable[..., Any], leads: bool = True) -> Callable[..., Any]:
        def guarded(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                self.check(context, request, leads)
                return call(request, context)
            except Exception as error:
                return _refuse(context, error)

        return guarded

    def _streaming(self, call: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def guarded(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                self.check(context, request)
                yield from call(request, context)
            except Exception as error:
                _refuse(context, error)

        return guarded

    def check(self, context: grpc.ServicerContext, request: Any, leads: bool = True) -> None:
        """Raises ProtocolError, UsageError, InviteUnknownError, HandedOverError, …"""
        theirs = sent_with(context).get("swarm-protocol", "none")
        if theirs != str(PROTOCOL_VERSION):
            older = not (theirs.isdecimal() and len(theirs) < 10) or int(theirs) < PROTOCOL_VERSION
            raise ProtocolError(
                f"The caller speaks version {theirs} of the protocol, the coordinator version {PROTOCOL_VERSION}.",
                f"Upgrade garage-swarm {'on this machine' if older else 'at the coordinator: tell the maintainer'}.",
            )
        self._admission.caller(context)
        if leads:
            self._lead.require()
        if isinstance(request, Message):  # the parts of a stream are looked at where they are read
            require_bounded(request)


def _refuse(context: grpc.ServicerContext, error: Exception) -> None:
    """End the call with the error's code; the detail of an unexpected one stays in the server's log."""
    if not isinstance(error, SwarmError):
        logger.exception("a call failed")
        error = SwarmError("The coordinator failed at this call.", "Its log says why; tell the maintainer.")
    detail = pb.ErrorDetail(code=error.code, what=error.what, remedy=error.remedy)
    context.set_trailing_metadata((("swarm-error-bin", detail.SerializeToString()),))
    context.abort(_STATUS.get(error.code, grpc.StatusCode.INTERNAL), error.what)
