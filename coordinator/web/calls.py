"""A maintainer's action on the page: the same call that the command line makes, through the same gate and audit log."""

from __future__ import annotations

from typing import Any, NoReturn

from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from coordinator.gate import Gate
from coordinator.rules import RULES, SERVICE, Caller
from coordinator.servicer import Servicer
from swarm.errors import NotFoundError, SwarmError, UsageError, from_code
from swarm.proto import coordinator_pb2 as pb
from swarm.version import PROTOCOL_VERSION

ACTIONS = [name for name, rule in RULES.items() if rule.caller is Caller.MAINTAINER]


class Maintaining:
    """What maintainers may call, each as a method of the service by its name."""

    def __init__(self, run: str, gate: Gate, servicer: Servicer) -> None:
        self._run = run
        self._gate = gate
        self._servicer = servicer

    def call(self, name: str, body: dict[str, Any], token: str, address: str) -> dict[str, Any]:
        """The answer. Raises NotFoundError, UsageError, RefusedError, … as the call does."""
        request = self._request(name, body)
        context = _Context(token, address)
        answer = self._gate.guarded(name, getattr(self._servicer, name))(request, context)
        said = json_format.MessageToDict(
            answer, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
        )
        return dict(said)

    def _request(self, name: str, body: dict[str, Any]) -> Any:
        if name not in ACTIONS:
            raise NotFoundError(f"There is no action {name[:40]!r}.", "Reload the page.")
        kind = GetMessageClass(SERVICE.methods_by_name[name].input_type)
        try:
            return json_format.ParseDict({**body, "run": self._run}, kind())
        except (json_format.ParseError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise UsageError(
                f"The action {name} came with values that it does not take.", "Reload the page."
            ) from error


class _Context:
    """What gRPC would say of the call."""

    def __init__(self, token: str, address: str) -> None:
        self._metadata = (("swarm-protocol", str(PROTOCOL_VERSION)), ("authorization", f"Bearer {token}"))
        self._peer = f"ipv6:[{address}]:0" if ":" in address else f"ipv4:{address}:0"
        self._detail = pb.ErrorDetail()

    def invocation_metadata(self) -> Any:
        return self._metadata

    def peer(self) -> str:
        return self._peer

    def set_trailing_metadata(self, metadata: Any) -> None:
        for key, value in metadata:
            if key == "swarm-error-bin":
                self._detail = pb.ErrorDetail.FromString(value)

    def abort(self, _status: Any, _text: str) -> NoReturn:
        raise from_code(self._detail.code or SwarmError.code, self._detail.what, self._detail.remedy)
