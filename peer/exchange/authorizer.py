"""Requests in the DHT: each carries the caller's pass and is signed with the key of its node; so does each answer.

hivemind's token protocol, whose token is the pass. Runs in the DHT's own process.
"""

from __future__ import annotations

from peer.doorkeeper import ANYBODY, Doorkeeper
from peer.exchange import guard
from peer.exchange.nodekey import NodeKey, node_of
from peer.exchange.refusals import Refusals

guard.prepare()

from hivemind.proto.auth_pb2 import AccessToken  # noqa: E402
from hivemind.utils.auth import AuthorizedRequestBase, TokenAuthorizerBase  # noqa: E402

_KEYS = 16  # of a request; a run has three. hivemind answers with all that is stored under each, as often as asked


class PassAuthorizer(TokenAuthorizerBase):
    """Shows this node's pass, and asks for those of others. An honest node never sends a request twice, and clocks may
    differ by a minute at most.
    """

    def __init__(self, doorkeeper: Doorkeeper, key: NodeKey) -> None:
        super().__init__(key.private)
        self._doorkeeper = doorkeeper
        self._key = key
        self._refusals = Refusals()

    async def get_token(self) -> AccessToken:
        return AccessToken(public_key=self._key.public, signature=self._doorkeeper.papers.own)

    def does_token_need_refreshing(self, access_token: AccessToken) -> bool:
        return bool(access_token.signature != self._doorkeeper.papers.own)

    def is_token_valid(self, access_token: AccessToken) -> bool:
        """What others make of the own one is their affair."""
        return access_token.public_key == self._key.public or not self._objection(access_token)

    async def validate_request(self, request: AuthorizedRequestBase) -> bool:
        """Raises RefusedCallError, whose reason the caller hears."""
        token = request.auth.client_access_token
        if len(getattr(request, "keys", ())) > _KEYS:
            raise self._refusals.refuse(node_of(token.public_key), "DHT", f"it asks for more than {_KEYS} keys at once")
        if not await super().validate_request(request):
            why = self._objection(token) or "it is not signed by that node for now, or came before"
            raise self._refusals.refuse(node_of(token.public_key), "DHT", why)
        return True

    def _objection(self, token: AccessToken) -> str:
        return self._doorkeeper.objection(node_of(token.public_key), token.signature, ANYBODY)
