"""How refusals travel: as a code of swarm.errors in the metadata, never as text to be matched."""

from __future__ import annotations

from typing import Any

import grpc

from coordinator.admission import Admission
from coordinator.audit import Audit
from coordinator.dialback import host_of
from swarm import log
from swarm.errors import DiskError, SwarmError
from swarm.proto import coordinator_pb2 as pb

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


class Refusals:
    """Ends calls with an error, and keeps those that the audit log is for."""

    def __init__(self, admission: Admission, audit: Audit) -> None:
        self._admission = admission
        self._audit = audit

    def send(self, name: str, request: Any, context: grpc.ServicerContext, error: Exception) -> None:
        """End the call with the error's code; what is wrong with this machine or its files stays in its log. Raises
        grpc.RpcError again: the call was ended, by its caller or by our patience, and nobody is there to be told.
        """
        if isinstance(error, grpc.RpcError):
            raise error
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
