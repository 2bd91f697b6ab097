"""The worker: the process that holds torch and hivemind. join → sync → train → exchange → leave.

Started by the supervisor as `python -m peer.worker FD`; speaks with it over the socket FD and ends when that closes.
"""

from __future__ import annotations

import asyncio
import faulthandler
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peer import tracing
from peer.bridge import Bridge
from peer.doorkeeper import Doorkeeper
from peer.orders import Orders
from peer.renewal import Renewal
from peer.setup import Setup
from peer.supplies import Base, Supplies
from swarm import lifetime, log
from swarm.errors import SwarmError, UnreachableError
from swarm.passes import Authority
from swarm.ranges import Range
from swarm.runspec import RunSpec

if TYPE_CHECKING:
    from peer.exchange.node import NodeOptions
    from peer.exchange.rounds import Appeal
    from peer.exchange.swarm import SwarmExchange
    from peer.feed import Feed
    from peer.learner import Learner
    from peer.leases import LeasedRange
    from peer.spans import Spans
    from peer.teller import Teller
    from peer.workbench import Peer

logger = log.get(__name__)

TOLD = 3  # exit code: the supervisor was told why
_AHEAD_ROUNDS = 25  # leased at any time; 20 are promised, and a round may be larger than the last ones
_TOLD_SECONDS = 3.0  # that a word of the coordinator's is awaited, where others' words may do
_OTHERS_SECONDS = 20.0  # longer than the coordinator believes in a member that fell silent
_LINGER_SECONDS = 1.0  # after the last round: others may still ask for its outcome


@dataclass(frozen=True)
class Job:
    """The parts of one worker's life."""

    peer: Peer
    feed: Feed
    teller: Teller
    exchange: SwarmExchange


def main() -> None:
    """Entry point; never returns, because hivemind's processes and threads must not delay or disturb the exit."""
    faulthandler.enable()
    orders = Orders()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lifetime.when_told(lambda: _end(1), signal.SIGTERM)  # the supervisor was killed
    lifetime.follow_parent()
    jobs: list[Job] = []
    renewal = Renewal(lambda *asked: _ask_pass(bridge, *asked), Path(tempfile.gettempdir()) / "papers")
    bridge = Bridge(
        socket.socket(fileno=int(sys.argv[1])),
        {
            "stop": orders.stop.set,
            "drain": orders.drain.set,
            "duty": lambda part: setattr(orders, "duty", part),
            "upload": lambda rate: setattr(orders, "upload", rate),
            "leases_lost": lambda: _forget(jobs),
            "differs": lambda digest, why: setattr(orders, "doubt", (digest, why)),
            "check": lambda check, member, since: _watch(jobs, check, member, since),
            "heard": renewal.heard,
            "seek": lambda: _seek(jobs, bridge),
            "announce": lambda text: _announce(jobs, orders, text),
        },
        on_closed=lambda: _end(1),
    )
    bridge.start()
    try:
        _work(bridge, orders, jobs, renewal)
    except SwarmError as error:
        _give_up(bridge, error)
    except BaseException:
        logger.exception("the worker failed")
        _end(1)
    _end(0)


def _give_up(bridge: Bridge, error: SwarmError) -> None:
    """Say why, and end also when nobody hears it: hivemind's threads would keep this process alive for ever."""
    try:
        bridge.call("failed", code=error.code, what=error.what, remedy=error.remedy)
    finally:
        _end(TOLD)


def _end(code: int) -> None:
    """Leave at once: what hivemind started is killed, what it wrote is removed."""
    from peer.exchange import guard

    guard.kill_children()
    shutil.rmtree(tempfile.gettempdir(), ignore_errors=True)
    sys.stderr.flush()
    os._exit(code)


def _forget(jobs: list[Job]) -> None:
    for job in jobs:
        job.feed.forget()


def _watch(jobs: list[Job], check: str, member: str, since: int) -> None:
    for job in jobs:
        if job.peer.checker:
            job.peer.checker.told(check, member, since)


def _seek(jobs: list[Job], bridge: Bridge) -> None:
    """Pass on what the swarm says about where the run is led."""
    for job in jobs:
        for text in job.exchange.handovers():
            bridge.notify("handover", text=text)


def _announce(jobs: list[Job], orders: Orders, text: str) -> None:
    """Tell the swarm where the run is led; once there is a job, when it comes before."""
    orders.moved = text
    for job in jobs:
        job.exchange.announce_handover(text)


def _begin(job: Job, jobs: list[Job], orders: Orders) -> None:
    """From now on it hears what the supervisor says, and what that said before."""
    jobs.append(job)
    if orders.moved:
        job.exchange.announce_handover(orders.moved)


def _work(bridge: Bridge, orders: Orders, jobs: list[Job], renewal: Renewal) -> None:
    from peer.training import train

    setup = Setup(**bridge.call("setup", seconds=3600.0))
    orders.duty, orders.upload = setup.duty, setup.upload
    log.setup(Path(setup.folder) / "worker.log", run=setup.spec.run.name, member=setup.member)
    tracer = tracing.wanted(lambda text: bridge.notify("note", text=text))
    exchange = _enter(setup, bridge, orders, renewal, bool(tracer))
    bridge.notify("maddrs", maddrs=exchange.maddrs())
    job = _prepare(bridge, setup, exchange, orders)
    if tracer:
        job.teller.spans = _trace(tracer, setup, exchange)
    _begin(job, jobs, orders)
    _await_others(bridge, setup, exchange)
    _draw_level(bridge, job)
    exchange.serve_state(partial(_state, job.peer))
    job.feed.start()
    if not job.peer.learner.round:
        job.teller.evaluate()  # what the run begins with, to compare with
    train(job.peer)
    job.feed.close()
    _leave(job)


def _trace(tracer: type[Spans], setup: Setup, exchange: SwarmExchange) -> Spans:
    from peer.exchange.traced import TracedExchange

    spans = tracer.start(setup.spec.run.name, setup.member, setup.lineage)
    assert isinstance(exchange, TracedExchange)
    exchange.trace(spans)
    return spans


def _enter(setup: Setup, bridge: Bridge, orders: Orders, renewal: Renewal, traced: bool) -> SwarmExchange:
    """Start hivemind first: it forks, and must do so before CUDA is touched."""
    from peer.exchange.ballot import Ballot
    from peer.exchange.belief import Told
    from peer.exchange.closing import rules_of
    from peer.exchange.node import BRISK, CALM, NodeOptions
    from peer.exchange.options import ExchangeOptions
    from peer.exchange.swarm import SwarmExchange
    from peer.exchange.traced import TracedExchange
    from peer.line import Line
    from peer.modes import most_samples
    from peer.seals import Notary

    spec = setup.spec

    async def arbiter(round_: int, appeal: Appeal) -> bool:
        ask = partial(bridge.call, "grant", number=round_, members=list(appeal.members), blind=appeal.blind)
        try:
            return bool(await asyncio.to_thread(ask))
        except SwarmError as error:
            logger.info("whether another part of the swarm goes on is not known: %s", error)
            return False

    async def ask() -> Told:
        """Soon, or not at all: the others are waiting."""
        try:
            async with asyncio.timeout(_TOLD_SECONDS):
                said = await asyncio.to_thread(bridge.call, "known")
            digests = {int(number): digest for number, digest in said["digests"].items()}
            return Told(said["number"], digests, said["checkpoint"])
        except (SwarmError, TimeoutError) as error:
            logger.info("how far the run is is not known: %s", error)
            return Told()

    line = Line(lambda: orders.upload, lambda count: bridge.notify("moved", count=count))
    local = spec.local if spec.training.mode == "local" else None
    ballot = Ballot.of(Path(setup.folder) / "vote")
    notary = Notary(spec.run.name, partial(_sign, bridge), most_samples(spec))
    clipped = spec.exchange.aggregation == "centered_clip"
    options = ExchangeOptions(
        rules_of(spec), spec.exchange.compression, local, line, arbiter, ballot, ask, notary, clipped
    )
    pace = CALM if local else BRISK
    node = NodeOptions(
        spec.run.name,
        setup.initial_peers,
        setup.listen_host,
        setup.port,
        relay=setup.relay,
        announced=setup.announced,
        member=setup.member,
        lineage=setup.lineage,
        pace=pace,
    )
    return (TracedExchange if traced else SwarmExchange).start(_let_in(node, renewal), options)


def _let_in(node: NodeOptions, renewal: Renewal) -> NodeOptions:
    """With a key of its own, a pass for it, and somebody who looks at the passes of others. Raises SwarmError."""
    from peer.exchange.nodekey import NodeKey

    path = Path(tempfile.gettempdir()) / "node.key"
    key = NodeKey.made(path)
    authority = Authority.of(node.run, renewal.begin(key.peer_id).encode())
    return replace(node, identity_path=str(path), doorkeeper=Doorkeeper(authority, renewal.file))


def _ask_pass(bridge: Bridge, peer_id: bytes, earlier: bytes) -> dict[str, Any]:
    return dict(bridge.call("pass", peer_id=peer_id.hex(), earlier=earlier.hex()))


def _sign(bridge: Bridge, words: bytes) -> tuple[bytes, bytes]:
    """By the supervisor, which keeps the key."""
    public_key, signature = bridge.call("sign", words=words.hex())
    return bytes.fromhex(public_key), bytes.fromhex(signature)


def _prepare(bridge: Bridge, setup: Setup, exchange: SwarmExchange, orders: Orders) -> Job:
    from peer.assembly import assemble
    from peer.checker import checker_of
    from peer.device import hardware, limit_memory, place
    from peer.feed import Feed
    from peer.leases import Leased
    from peer.measuring import Measuring
    from peer.samples import Writing
    from peer.shards import Shards
    from peer.teller import Teller
    from peer.workbench import Peer

    spec = setup.spec

    def say(text: str) -> None:
        bridge.notify("note", text=text)

    supplies = Supplies(bridge, exchange)
    _take_base(setup, spec, supplies)
    placement = place(spec, setup.device, hardware())
    limit_memory(placement.device, setup.gpu_memory)
    bridge.notify("device", name=placement.name, why=placement.why)
    learner, model, rate = assemble(setup, placement, say)

    def ask(samples: int) -> Leased:
        answer = bridge.call("lease", samples=samples)
        return Leased(_leased(*answer["lease"]) if answer["lease"] else None, answer["why"])

    epoch = sum(map(int, setup.layout["shard_samples"]))
    shards = Shards(setup, supplies, say)
    shards.offer()
    feed = Feed(ask, shards, lambda: _wish(peer, teller.per_round, epoch))
    measuring = Measuring(
        model,
        placement,
        Path(setup.model_folder),
        tuple(filter(None, spec.evaluation.metrics.split(","))),
        Path(bridge.call("heldout", seconds=600.0)),  # now: the coordinator may be away when it is needed
        say,
        Writing.of(spec),
    )
    teller = Teller(bridge, exchange, learner, measuring, checkpointed=learner.round)
    folder = Path(setup.folder) / "state"
    folder.mkdir(exist_ok=True)
    peer = Peer(learner, exchange, feed, teller, folder, lambda: _latest(bridge, learner), orders, rate=rate)
    peer.checker = checker_of(bridge, shards)
    return Job(peer, feed, teller, exchange)


def _leased(lease_id: str, start: int, stop: int, lent: str) -> LeasedRange:
    from peer.leases import LeasedRange

    return LeasedRange(lease_id, Range(start, stop), bytes.fromhex(lent))


def _take_base(setup: Setup, spec: RunSpec, supplies: Supplies) -> None:
    """The base's files, from where they are nearest: the cache, the volunteer's copy, the hub if wished, the swarm."""
    base = Base(setup.base, Path(setup.cache), supplies)
    if setup.base_folder:
        base.take_from(Path(setup.base_folder))
    if setup.from_hub:
        base.take_from_hub(spec.model)
    base.complete(Path(setup.model_folder))


def _wish(peer: Peer, per_round: float, epoch: int) -> int:
    """Have leased what it does in 25 rounds, or in a minute when that is more: so long the coordinator may be away. For
    the sake of the minute never more than half of an epoch: small data would be lent many times over, in hundreds of
    leases. Before it has done a round it takes two whole ones: with more, a slow line would hold up its start.
    """
    rounds = _AHEAD_ROUNDS * per_round or 2 * peer.learner.spec.training.target_batch_size
    return max(math.ceil(rounds), min(int(60 * peer.rate), epoch // 2))


def _latest(bridge: Bridge, learner: Learner) -> Path | None:
    """The coordinator's newest state when it is later than ours; none while it cannot be asked."""
    try:
        path = bridge.call("latest_checkpoint", seconds=600.0, newer_than=learner.round)
    except UnreachableError:
        return None
    return Path(path) if path else None


def _await_others(bridge: Bridge, setup: Setup, exchange: SwarmExchange) -> None:
    """The coordinator knows live members: see them before training, or two swarms would begin."""
    end = time.monotonic() + _OTHERS_SECONDS
    while setup.live_members and not exchange.others() and time.monotonic() < end:
        bridge.notify("phase", phase="syncing", why=f"looking for {setup.live_members} other members")
        time.sleep(0.2)


def _state(peer: Peer, at_least: int) -> tuple[Path, int, str] | None:
    """What others may have of this peer's state; nothing while it doubts it."""
    return None if peer.finding else peer.learner.snapshot(peer.state_folder, at_least)


def _draw_level(bridge: Bridge, job: Job) -> None:
    """Take the others' state when it is a later one, before this peer counts among those who hold the agreed one: many
    newcomers that are behind would have a say in what that is.
    """
    peer = job.peer
    bridge.notify("phase", phase="syncing", why="looking whether the others have a later state")
    fetched = job.exchange.fetch_state(peer.learner.round + 1, peer.state_folder) if job.exchange.others() else None
    if fetched:
        peer.learner.load(fetched.path)


def _leave(job: Job) -> None:
    """Hand over the newest state when nobody else will; then say goodbye."""
    peer = job.peer
    if peer.finished or job.exchange.leads():
        job.teller.phase("leaving", "handing over the newest state", peer.work, 0, peer.rate)
        job.teller.checkpoint(Path(tempfile.gettempdir()))
    if peer.finished and not peer.orders.stop.is_set():
        time.sleep(_LINGER_SECONDS)
    job.teller.parting()
    job.exchange.close()
    if job.teller.spans:
        job.teller.spans.close()


if __name__ == "__main__":
    main()
