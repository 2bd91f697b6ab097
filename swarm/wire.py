"""gRPC towards a coordinator: a channel that trusts one certificate, and errors in the project's words."""

from __future__ import annotations

import grpc
from google.protobuf.message import DecodeError

from swarm.errors import OverloadError, ProtocolError, RefusedError, SwarmError, UnreachableError, from_code
from swarm.identity import SERVER_NAME
from swarm.invite import Invite
from swarm.proto import coordinator_pb2 as pb
from swarm.texts import line

_MAX_MESSAGE = 64 << 20  # bytes
_LONGEST = 1000  # letters of an error


def channel(invite: Invite, pem: str) -> grpc.Channel:
    """To the address of the invite; only the certificate `pem` is trusted."""
    options = [
        ("grpc.ssl_target_name_override", SERVER_NAME),
        ("grpc.max_receive_message_length", _MAX_MESSAGE),
        ("grpc.max_reconnect_backoff_ms", 5000),  # a restarted coordinator is found again within seconds
        ("grpc.enable_http_proxy", 0),  # the certificate was fetched without one
    ]
    return grpc.secure_channel(invite.address, grpc.ssl_channel_credentials(pem.encode()), options)


def translated(error: grpc.RpcError, invite: Invite) -> SwarmError:
    """The coordinator's own word when it sent one; otherwise what the status means."""
    if not isinstance(error, grpc.Call):
        return SwarmError(f"The call to {invite.address} failed: {error}.")
    for key, value in error.trailing_metadata() or ():
        if key == "swarm-error-bin":
            return _detailed(bytes(value), invite)
    return _from_status(error.code(), line(error.details() or "", _LONGEST), invite)


def _detailed(data: bytes, invite: Invite) -> SwarmError:
    try:
        detail = pb.ErrorDetail.FromString(data)
    except DecodeError:
        what = f"The coordinator at {invite.address} refused the call, and why cannot be read."
        return ProtocolError(what, "Use the same version of garage-swarm on both sides.")
    return from_code(detail.code, line(detail.what, _LONGEST), line(detail.remedy, _LONGEST))


def _from_status(status: grpc.StatusCode, details: str, invite: Invite) -> SwarmError:
    where = f"The coordinator at {invite.address}"
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return UnreachableError(f"{where} did not answer in time.", "Try again; its machine or line may be overloaded.")
    if status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return UnreachableError(f"{where} does not answer.", "Check the network; ask whether the run is stopped.")
    if status in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return RefusedError(f"{where} refused the call.", "Ask the maintainer for a new invite.")
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return ProtocolError(f"{where} does not know this call.", "Use the same version of garage-swarm on both sides.")
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return OverloadError(f"{where} takes no more at the moment: {details}.", "Try again in a minute.")
    return SwarmError(f"{where} failed ({status.name}): {details}.", "Its log says more; tell the maintainer.")
