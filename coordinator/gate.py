"""Who may call: every call is held against its rule, before a message of it is read.

gRPC lets a thread wait for the message of a call before any of our code runs, and for ever. So it is told of every
method that its messages are a stream: then it asks for them when we do, which is once we know whose call it is.
"""

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
from coordinator.patience import Patience
from coordinator.records import IssuedInvite
from coordinator.refusals import Refusals
from coordinator.rules import ALL, RULES, Caller, decoder, require_complete, require_size
from coordinator.translate import require_bounded
from swarm.errors import OverloadError, ProtocolError, UsageError
from swarm.passes import Role
from swarm.ration import Places, Ration
from swarm.version import PROTOCOL_VERSION

_WINDOW_SECONDS = 60.0
THREADS = 128  # of the server; what each kind of call may take of them at the same time:
_FILES, _FILES_OF_ALL = 32, 64  # of one caller, and of all: a slow line needs one for long
_SILENT = 64  # of one caller, whose message has not come yet: a hall of machines may call at the same moment


class Gate(grpc.ServerInterceptor):
    """Holds every call against its rule, and translates errors. What was handed over answers only to where.
    `clock` gives seconds.
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
        self.patience = Patience(clock)
        self._engine = engine
        self._admission = admission
        self._lead = lead
        self._audit = audit
        self._refusals = Refusals(admission, audit)
        self._rations = {name: Ration(rule.a_minute, _WINDOW_SECONDS, clock) for name, rule in ALL.items()}
        self._files, self._files_of_all, self._silent = Places(_FILES), Places(_FILES_OF_ALL), Places(_SILENT)
        self._handlers: dict[str, Any] = {}

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        """The same for every call of a method, so it is made once; of methods that there are not, or that have no rule,
        nothing is kept.
        """
        if (found := self._handlers.get(details.method)) is not None:
            return found
        handler, name = continuation(details), details.method.rpartition("/")[2]
        if handler is None or name not in ALL:
            return None
        return self._handlers.setdefault(details.method, self._behind(name, handler))

    def _behind(self, name: str, handler: Any) -> Any:
        decode = decoder(name, handler.request_deserializer)
        if handler.response_streaming:
            sending = self._sending(name, handler.unary_stream)
            return grpc.stream_stream_rpc_method_handler(sending, decode, handler.response_serializer)
        if handler.request_streaming:
            call = self._receiving(name, handler.stream_unary)
        else:
            call = self._answering(name, handler.unary_unary, self._first)
        return grpc.stream_unary_rpc_method_handler(call, decode, handler.response_serializer)

    def guarded(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """As a call over gRPC is, for a message that is here already."""
        return self._answering(name, call, lambda request, _invite, _context: request)

    def _answering(self, name: str, call: Callable[..., Any], first: Callable[..., Any]) -> Callable[..., Any]:
        """The call, held against its rule and kept in the audit log; errors end its context. `first` gives its message
        once it is known whose call it is.
        """

        def held(said: Any, context: grpc.ServicerContext) -> Any:
            request = None
            try:
                invite = self._enter(name, context)
                request = first(said, invite, context)
                self._look(name, request, invite, context)
                answer = call(request, context)
                self._audit.done(name, invite.id, host_of(context.peer()), request, answer)
                return answer
            except Exception as error:
                return self._refusals.send(name, request, context, error)

        return held

    def _sending(self, name: str, call: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def held(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            request = None
            try:
                invite = self._enter(name, context)
                request = self._first(requests, invite, context)
                self._look(name, request, invite, context)
                with self._place(invite, context):
                    yield from self.patience.told(call(request, context), context)
            except Exception as error:
                self._refusals.send(name, request, context, error)

        return held

    def _receiving(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The first message of a stream says whose it is."""

        def held(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
            first = None
            try:
                invite = self._enter(name, context)
                with self._place(invite, context):
                    coming = self.patience.heard(requests, context)
                    first = _one(coming)
                    self._look(name, first, invite, context)
                    return call(chain([first], _of_fitting_size(name, coming)), context)
            except Exception as error:
                return self._refusals.send(name, first, context, error)

        return held

    def _enter(self, name: str, context: grpc.ServicerContext) -> IssuedInvite:
        """The caller's invite, when it may make the call at all and not too often. Raises ProtocolError, RefusedError,
        OverloadError, HandedOverError.
        """
        rule = ALL[name]
        _require_version(sent_with(context).get("swarm-protocol", "none"))
        invite = self._admission.caller(context)
        if rule.caller is Caller.MAINTAINER:
            require_role(invite, Role.MAINTAINER)
        if not self._rations[name].permits(_key(invite, context)):
            raise OverloadError(
                f"More than {rule.a_minute} calls {name} came in a minute with this invite from this address.",
                "Wait a minute. If nothing is wrong here, the maintainer can give out several invites.",
            )
        if not rule.always:
            self._lead.require()
        return invite

    def _first(self, requests: Iterator[Any], invite: IssuedInvite, context: grpc.ServicerContext) -> Any:
        """The message of a call that has one. Raises OverloadError, UsageError, grpc.RpcError when it was ended."""
        with self._silent.taken(_key(invite, context)) as there:
            if not there:
                raise OverloadError(
                    f"{_SILENT} calls of this address wait already for what they ask to be said.", "Try again later."
                )
            return _one(self.patience.heard(requests, context))

    def _look(self, name: str, request: Any, invite: IssuedInvite, context: grpc.ServicerContext) -> None:
        """Raises UsageError for a message that is too large, RefusedError when another member's process sent it."""
        require_size(name, request)
        require_bounded(request)
        if ALL[name].caller is Caller.MEMBER:
            membership.require(self._engine.state, request.member_id, session_of(context), invite.id)

    @contextmanager
    def _place(self, invite: IssuedInvite, context: grpc.ServicerContext) -> Iterator[None]:
        with self._files.taken(_key(invite, context)) as there, self._files_of_all.taken("") as left:
            if not there:
                raise OverloadError(
                    f"{_FILES} files are under way already with this invite at this address.", "Try again later."
                )
            if not left:
                raise OverloadError(f"{_FILES_OF_ALL} files are under way already.", "Try again later.")
            yield


def _one(messages: Iterator[Any]) -> Any:
    if (first := next(messages, None)) is None:
        raise UsageError("Nothing was sent.", "Use the same version of garage-swarm.")
    return first


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
