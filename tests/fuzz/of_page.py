"""What the page takes over HTTP and our own code decodes: words of volunteers, bodies of maintainers' requests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, cast

from coordinator.web import app
from coordinator.web.calls import Maintaining
from coordinator.web.limits import LARGEST
from swarm import pageword
from swarm.identity import Identity
from swarm.invite import Invite
from tests.fuzz.run import Decoder

_RUN, _PRINT, _TOKEN = "law", "0" * 32, "c2VjcmV0LW9mLWEtdGVzdA"
_MADE = time.time()
_WORD = pageword.word(Identity.from_seed(b"k" * 32), _RUN, _PRINT, _MADE).encode()
_INVITE = str(Invite("127.0.0.1", 7700, _RUN, _PRINT, _TOKEN))
_MEMORY = 1 << 20  # bytes: a body of 4 kB as Python objects


def decoders() -> list[Decoder]:
    """One row for each kind."""
    maintaining = Maintaining(_RUN, cast(Any, None), cast(Any, None))

    def word(data: bytes) -> bytes:
        return pageword.opened(data.decode("latin-1"), _RUN, _PRINT, _MADE)

    def login(data: bytes) -> str:
        return app._token(app.decoded(data).get("invite"), _RUN)

    def action(name: str) -> Callable[[bytes], object]:
        return lambda data: maintaining._request(name, app.decoded(data))

    logins = ({"invite": _TOKEN}, {"invite": _INVITE})
    ban, invite = {"member": "m0", "why": "x"}, {"role": "volunteer", "days": 7, "note": "n", "slots": 3, "weight": 0.5}
    return [
        Decoder("page: a volunteer's word", word, (_WORD,), LARGEST, _MEMORY),
        Decoder("page: a login", login, tuple(map(_body, logins)), LARGEST, _MEMORY),
        Decoder("page: a ban", action("Ban"), (_body(ban),), LARGEST, _MEMORY),
        Decoder("page: an invite", action("MakeInvite"), (_body(invite),), LARGEST, _MEMORY),
    ]


def _body(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode()
