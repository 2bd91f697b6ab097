"""`swarm join --work trials`: units of campaigns, one after the other, until Ctrl-C.

It takes no part in training, and is no member of the run: it has no leases and no heartbeats, so training does not
notice it. What it shows is its key, for each unit.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.cli import trialing
from swarm.cli.trialing import Machine, Subject
from swarm.errors import LoginError, NotFoundError, ProtocolError, RefusedError, SwarmError, UnreachableError
from swarm.trials import probes, receipts
from swarm.trials.names import EVALUATE

if TYPE_CHECKING:
    from peer.door import Door
    from swarm.identity import Identity
    from swarm.invite import Invite
    from swarm.proto import coordinator_pb2 as pb
    from swarm.trials.answers import Item
    from swarm.trials.client import TrialClient

_AGAIN = 2.0, 60.0  # seconds between questions while there is nothing to do: at first, and later
_TRIES = 3  # units in a row that fail here before it gives up
_LOOK_SECONDS = 0.5

Say = Callable[[str], None]


class Volunteer:
    """One machine's work for the trials of a run. `folder` is the peer's; `passed` hears how many bytes it fetched."""

    def __init__(
        self,
        client: TrialClient,
        identity: Identity,
        folder: Path,
        machine: Machine,
        say: Say,
        passed: Callable[[int], None],
    ) -> None:
        self._client = client
        self._identity = identity
        self._folder = folder
        self._machine = machine
        self._say = say
        self._passed = passed
        self._said = ""
        self._failed = 0
        self.receipts = 0

    def once(self) -> bool:
        """Ask for a unit, and compute it; False when there was none. Raises BannedError, ProtocolError, …"""
        given = self._client.take_unit(self._identity, self.receipts)
        self._keep(given)
        if not given.campaign.id:
            self._tell(f"waiting: {given.why}")
            return False
        self._tell(f"unit {given.unit} of campaign {given.campaign.id}: {given.count} items of {given.campaign.suite}")
        self._answer(given)
        return True

    def _answer(self, given: pb.TakeUnitResponse) -> None:
        """A unit that was settled meanwhile is no fault."""
        began = time.monotonic()
        try:
            items = self._found(given)
            self._client.answer_unit(self._identity, given.campaign.id, given.unit, items)
            self._failed = 0
            self._tell(
                f"answered unit {given.unit} of campaign {given.campaign.id} in {time.monotonic() - began:.0f} s"
            )
        except NotFoundError as error:
            self._tell(str(error))

    def _found(self, given: pb.TakeUnitResponse) -> tuple[Item, ...]:
        subject = self._subject(given.campaign)
        what = trialing.heldout(subject) if given.campaign.kind == EVALUATE else ()
        log = self._folder / "trials.log"
        return trialing.examined(subject, self._machine, log, (given.first, given.count), what)

    def _subject(self, campaign: pb.Campaign) -> Subject:
        """The campaign's checkpoint. Raises ProtocolError when this version has another suite under its name."""
        run = self._client.get_run()
        known = run.heldout.sha256 if campaign.kind == EVALUATE else probes.digest()
        if campaign.suite_digest != known:
            raise ProtocolError(
                f"The suite {campaign.suite} of campaign {campaign.id} is not the one of this version.",
                "Use the same version of garage-swarm as the run's coordinator.",
            )
        for checkpoint in self._client.checkpoints():
            if (checkpoint.round, checkpoint.digest) == (campaign.round, campaign.digest):
                return trialing.of_run(self._client, checkpoint, self._folder, self._tell, self._passed)
        raise NotFoundError("The campaign's checkpoint is not kept any more.", "Another one may come.")

    def failed(self, error: SwarmError) -> None:
        """A unit could not be computed here. Raises the error when that happens again and again."""
        self._failed += 1
        self._tell(str(error))
        if self._failed >= _TRIES:
            raise error

    def _keep(self, given: pb.TakeUnitResponse) -> None:
        """Receipts, before the next question says that they are here."""
        from swarm import receipts as files

        if given.receipts:
            files.keep(self._folder / receipts.FILE, self._client.certificate, given.receipts)
            self.receipts += len(given.receipts)
            self._tell(f"{self.receipts} units were compared with others' so far")

    def _tell(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._say(text)


def run(invite: Invite, folder: Path, machine: Machine, door: Door, show: Callable[[dict[str, Any]], None]) -> None:
    """Compute units until a signal ends it. Raises InviteError, UnreachableError, BannedError, …"""
    from peer import commands, spawn
    from swarm import control, log, paths
    from swarm.cli import known
    from swarm.identity import Identity
    from swarm.trials.client import TrialClient

    stopping = threading.Event()
    _end_by_signals(stopping)
    with spawn.only_peer(folder), known.connect(TrialClient, invite, folder=folder) as client:
        log.setup(folder / "peer.log", run=invite.run)
        identity = Identity.of(folder, paths.home())
        say = lambda text: show({"event": "note", "text": text})  # noqa: E731
        volunteer = Volunteer(client, identity, folder, machine, say, door.passed)
        volunteer.receipts = _known(folder / receipts.FILE, invite, identity)
        with control.answering(folder, commands.handler(door, stopping)):
            _work(volunteer, door, say)


def _work(volunteer: Volunteer, door: Door, say: Say) -> None:
    pause, lost = _AGAIN[0], ""
    while True:
        _await_go(door, say)
        try:
            found, lost = volunteer.once(), ""
        except UnreachableError as error:
            if error.what != lost:
                say(f"{error.what} Trying again until there is an answer.")
            found, lost = False, error.what
        except SwarmError as error:
            if isinstance(error, ProtocolError | RefusedError) and not isinstance(error, LoginError):
                raise
            volunteer.failed(error)
            found = False
        pause = _AGAIN[0] if found else min(2 * pause, _AGAIN[1])
        if not found:
            time.sleep(pause)


def _await_go(door: Door, say: Say) -> None:
    """Wait until the volunteer's rules let it compute; a unit that was begun is finished first."""
    from peer.neighbour import Pause

    said = ""
    while isinstance(decision := door.decision(), Pause):
        if str(decision) != said:
            said = str(decision)
            say(said)
        time.sleep(_LOOK_SECONDS)


def _end_by_signals(stopping: threading.Event) -> None:
    """Ctrl-C, a polite kill and `swarm stop` are one: the unit's process ends with this one; others get the unit."""
    from swarm import lifetime

    for number in lifetime.ending_signals():
        signal.signal(number, signal.default_int_handler)
    threading.Thread(target=_stop_when_told, args=(stopping,), daemon=True).start()


def _stop_when_told(stopping: threading.Event) -> None:
    stopping.wait()
    os.kill(os.getpid(), signal.SIGINT)


def _known(path: Path, invite: Invite, identity: Identity) -> int:
    """How many receipts are here already; none in a new folder."""
    with suppress(FileNotFoundError):
        path.stat()
        return sum(one.member_id == identity.member_id for one in receipts.verified(path, invite.fingerprint))
    return 0
