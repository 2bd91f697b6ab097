"""Who may call, and how refusals travel: as a code of swarm.errors in the metadata, never as text to be matched."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import grpc

from coordinator import membership
from coordinator.admission import Admission, sent_with, session_of
from coordinator.audit import Audit
from coordinator.dialback import host_of, network_of
from coordinator.engine import Engine
from coordinator.handover import Lead
from coordinator.invites import require as require_role
from coordinator.records import IssuedInvite
from coordinator.rules import RULES, Caller, decoder, require_complete, require_size
from coordinator.translate import require_bounded
from swarm import log
from swarm.errors import DiskError, OverloadError, ProtocolError, SwarmError, UsageError
from swarm.passes import Role
from swarm.proto import coordinator_pb2 as pb
from swarm.ration import Places, Ration
from swarm.version import PROTOCOL_VERSION

logger = log.get(__name__)

_STATUS = {
    "USAGE": grpc.StatusCode.INVALID_ARGUMENT,
    "HANDED_OVER": grpc.StatusCode.FAILED_PRECONDITION,
    "REFUSED": grpc.StatusCode.PERMISSION_DENIED,
    "BANNED": grpc.StatusCode.PERMISSION_DENIED,
    "LOGIN": grpc.StatusCode.UNAUTHENTICATED,
    "INVITE_EXPIRED": grpc.StatusCode.UNAUTHENTICATED,
    "INVITE_REVOKED": grpc.StatusCode.UNAUTHENTICATED,
    "INVITE_FULL": grpc.StatusCode.PERMISSION_DENIED,
    "INVITE_UNKNOWN": grpc.StatusCode.UNAUTHENTICATED,
    "PROTOCOL": grpc.StatusCode.FAILED_PRECONDITION,
    "UNKNOWN_RUN": grpc.StatusCode.NOT_FOUND,
    "NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "OVERLOAD": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "DISK": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "CORRUPT": grpc.StatusCode.DATA_LOSS,
}

_WINDOW_SECONDS = 60.0
_STREAMS = 32  # of one caller at the same time: each takes a thread while it lasts


class Gate(grpc.ServerInterceptor):
    """Holds every call but the health check's against its rule, and translates errors. What was handed over answers
    only to where. `clock` gives seconds.
    """

    def __init__(
        self,
        engine: Engine,
        admission: Admission,
        lead: Lead,
        audit: Audit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        require_complete(RULES)
        self._engine = engine
        self._admission = admission
        self._lead = lead
        self._audit = audit
        self._rations = {name: Ration(rule.a_minute, _WINDOW_SECONDS, clock) for name, rule in RULES.items()}
        self._streams = Places(_STREAMS)
        self._handlers: dict[str, Any] = {}

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        """The same for every call of a method, so it is made once; of methods that there are not nothing is kept."""
        if (found := self._handlers.get(details.method)) is not None:
            return found
        handler = continuation(details)
        if handler is None or details.method.startswith("/grpc.health."):
            return handler
        return self._handlers.setdefault(details.method, self._behind(details.method.rpartition("/")[2], handler))

    def _behind(self, name: str, handler: Any) -> Any:
        handler = handler._replace(request_deserializer=decoder(name, handler.request_deserializer))
        if handler.response_streaming:
            return handler._replace(unary_stream=self._sending(name, handler.unary_stream))
        if handler.request_streaming:
            return handler._replace(stream_unary=self._receiving(name, handler.stream_unary))
        return handler._replace(unary_unary=self.guarded(name, handler.unary_unary))

    def guarded(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, held against its rule and kept in the audit log; errors end its context."""

        def held(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                invite = self.check(name, request, context)
                answer = call(request, context)
                self._audit.done(name, invite.id, host_of(context.peer()), request, answer)
                return answer
            except Exception as error:
                return self._refuse(name, request, context, error)

        return held

    def _sending(self, name: str, call: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def guarded(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                invite = self.check(name, request, context)
                with self._place(invite, context):
                    yield from call(request, context)
            except Exception as error:
                self._refuse(name, request, context, error)

        return guarded

    def _receiving(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The first message of a stream says whose it is."""

        def guarded(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
            first = None
            try:
                invite = self._enter(name, context)
                with self._place(invite, context):
                    first = next(requests, None)
                    if first is None:
                        raise UsageError("Nothing was sent.", "Use the same version of garage-swarm.")
                    self._look(name, first, invite, context)
                    return call(chain([first], _of_fitting_size(name, requests)), context)
            except Exception as error:
                return self._refuse(name, first, context, error)

        return guarded

    def check(self, name: str, request: Any, context: grpc.ServicerContext) -> IssuedInvite:
        """The invite of a call that may be made. Raises ProtocolError, UsageError, RefusedError, OverloadError, …"""
        invite = self._enter(name, context)
        self._look(name, request, invite, context)
        return invite

    def _enter(self, name: str, context: grpc.ServicerContext) -> IssuedInvite:
        """The caller's invite, when it may make the call at all and not too often. Raises ProtocolError, RefusedError,
        OverloadError, HandedOverError.
        """
        _require_version(sent_with(context).get("swarm-protocol", "none"))
        invite = self._admission.caller(context)
        if RULES[name].caller is Caller.MAINTAINER:
            require_role(invite, Role.MAINTAINER)
        if not self._rations[name].permits(_key(invite, context)):
            raise OverloadError(
                f"More than {RULES[name].a_minute} calls {name} came in a minute with this invite from this address.",
                "Wait a minute. If nothing is wrong here, the maintainer can give out several invites.",
            )
        if not RULES[name].always:
            self._lead.require()
        return invite

    def _look(self, name: str, request: Any, invite: IssuedInvite, context: grpc.ServicerContext) -> None:
        """Raises UsageError for a message that is too large, RefusedError when another member's process sent it."""
        require_size(name, request)
        require_bounded(request)
        if RULES[name].caller is Caller.MEMBER:
            membership.require(self._engine.state, request.member_id, session_of(context), invite.id)

    @contextmanager
    def _place(self, invite: IssuedInvite, context: grpc.ServicerContext) -> Iterator[None]:
        with self._streams.taken(_key(invite, context)) as there:
            if not there:
                raise OverloadError(
                    f"{_STREAMS} files are under way already with this invite at this address.", "Try again later."
                )
            yield

    def _refuse(self, name: str, request: Any, context: grpc.ServicerContext, error: Exception) -> None:
        """End the call with the error's code; what is wrong with this machine or its files stays in its log."""
        if not isinstance(error, SwarmError):
            logger.exception("a call failed")
            error = SwarmError("The coordinator failed at this call.", "Its log says why; tell the maintainer.")
        if isinstance(error, DiskError):
            logger.error("a call failed: %s", error)
            error = DiskError("The coordinator's disk is full or fails.", "Try again later; tell the maintainer.")
        member = getattr(request, "member_id", "")
        self._audit.refused(name, self._admission.name(context), host_of(context.peer()), member, error)
        detail = pb.ErrorDetail(code=error.code, what=error.what, remedy=error.remedy)
        context.set_trailing_metadata((("swarm-error-bin", detail.SerializeToString()),))
        context.abort(_STATUS.get(error.code, grpc.StatusCode.INTERNAL), error.what)


def _of_fitting_size(name: str, requests: Iterator[Any]) -> Iterator[Any]:
    for request in requests:
        require_size(name, request)
        require_bounded(request)
        yield request


def _key(invite: IssuedInvite, context: grpc.ServicerContext) -> str:
    """Whom a ration is for: who uses one invite at one address, or, of IPv6, in one network."""
    return f"{invite.id} {network_of(context.peer())}"


def _require_version(theirs: str) -> None:
    if theirs != str(PROTOCOL_VERSION):
        older = not (theirs.isdecimal() and len(theirs) < 10) or int(theirs) < PROTOCOL_VERSION
        raise ProtocolError(
            f"The caller speaks version {theirs} of the protocol, the coordinator version {PROTOCOL_VERSION}.",
            f"Upgrade garage-swarm {'on this machine' if older else 'at the coordinator: tell the maintainer'}.",
        )
