"""The worker's papers: its node's pass, asked of the supervisor in time, and what that hears of everybody's passes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from swarm import log
from swarm.errors import SwarmError, UnreachableError, from_os_error
from swarm.papers import Papers
from swarm.passes import RENEWAL

logger = log.get(__name__)

_AGAIN_SECONDS = 10.0

# A pass for the node with that id, which had that one: {"own": …, "heard_at": …, "barred": …, "certificate": …}. Raises
# SwarmError.
Ask = Callable[[bytes, bytes], dict[str, Any]]


class Renewal:
    """`file` is for all processes of the worker. Threads may share this."""

    def __init__(self, ask: Ask, file: Path) -> None:
        self.file = file
        self._ask = ask
        self._papers = Papers()
        self._writing = threading.Lock()
        self._light = False  # whether this peer is on probation, as it heard last
        self._due = threading.Event()

    def begin(self, peer_id: bytes) -> str:
        """Have a pass, and from now on always a fresh one; gives the certificate of the coordinator that signs them.

        Raises UnreachableError, RefusedError, DiskError.
        """
        try:
            answer = self._renew(peer_id)
        except UnreachableError as error:
            why = f"The swarm's network could not be entered: without the coordinator there is no pass. {error.what}"
            raise UnreachableError(why, error.remedy) from error
        except OSError as error:
            raise from_os_error(error, "keeping this node's pass") from error
        threading.Thread(target=self._keep_renewing, args=(peer_id,), name="renewal", daemon=True).start()
        return str(answer["certificate"])

    def heard(self, heard_at: float, barred: Iterable[str], light: bool) -> None:
        """The supervisor heard the coordinator. Who is barred is refused at once; a pass that says of this peer what is
        so no more is renewed.
        """
        if light != self._light:
            self._light = light
            self._due.set()
        with self._writing:
            papers = replace(self._papers, heard_at=heard_at, barred=frozenset(barred))
            if papers.is_news(self._papers):
                self._write(papers)

    def _keep_renewing(self, peer_id: bytes) -> None:
        seconds = RENEWAL
        while True:
            self._due.wait(seconds)
            self._due.clear()
            try:
                self._renew(peer_id)
                seconds = RENEWAL
            except (SwarmError, OSError) as error:
                logger.info("the pass is not renewed yet: %s", error)
                seconds = _AGAIN_SECONDS

    def _renew(self, peer_id: bytes) -> dict[str, Any]:
        answer = self._ask(peer_id, self._papers.own)
        with self._writing:
            own = bytes.fromhex(answer["own"])
            self._write(Papers(own, answer["heard_at"], frozenset(answer["barred"])))
        return answer

    def _write(self, papers: Papers) -> None:
        papers.keep(self.file)
        self._papers = papers
