"""A real peer of the exchange without model or coordinator: `python -m tests.exchange_peer`.

Reads one JSON object from the command line, prints one JSON line per event.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from peer.agreement import FEWEST
from peer.checkpoint import state_digest, write_state
from peer.chunks import COORDINATOR, Ask
from peer.doorkeeper import Doorkeeper
from peer.exchange import delivery
from peer.exchange.base import Applied, Phase, Resync, Update
from peer.exchange.closing import Rules, SampleTarget
from peer.exchange.node import NodeOptions
from peer.exchange.nodekey import NodeKey
from peer.exchange.options import ExchangeOptions
from peer.exchange.swarm import SwarmExchange
from peer.leases import Use
from peer.line import Line
from peer.seals import Notary, signer_of
from swarm.identity import Identity
from swarm.papers import Papers
from swarm.passes import Authority
from swarm.sections import Local
from tests.let_in import pass_for, word_on
from tests.liars import LIES
from tests.peer_sample import sampled


def say(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def tensors(seed: int, size: int) -> dict[str, torch.Tensor]:
    """The same values for the same seed in every process."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (size // 2,), "b": (size // 8, 2), "c": (size // 4,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


Tensors = dict[str, torch.Tensor]
KEPT = Local.model_fields["kept"].default


def _all(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], Tensors]:
    return lambda values: {name: change(tensor) for name, tensor in values.items()}


SENT = {
    "honest": _all(lambda tensor: tensor),
    "NaN": _all(lambda tensor: tensor * float("nan")),
    "inf": _all(lambda tensor: tensor + float("inf")),
    "large": _all(lambda tensor: tensor * 1000),
    "zeros": _all(torch.zeros_like),
}


def count_donors(gave: Counter[str]) -> None:
    """Note whose chunk is kept, by the end of the donor's id."""
    keep = delivery.Fetching._keep

    def noted(self: delivery.Fetching, ask: Ask) -> None:
        keep(self, ask)
        name = "coordinator" if ask.donor == COORDINATOR else ask.donor.hex()
        gave[name] += 1
        say("kept", chunk=ask.chunk, donor=name)

    delivery.Fetching._keep = noted  # type: ignore[method-assign]


class Lender:
    """The coordinator's words on what this peer was lent, each sample of which weighs `share`. `lends`: "enough" for
    each update, "half" of it, or "once", which is then shown in every round. Without a coordinator, none.
    """

    def __init__(self, settings: dict[str, Any], member: str) -> None:
        self.settings = settings
        self.member = member
        self.first = 0

    def uses(self, round_: int, samples: int) -> tuple[Use, ...]:
        if "authority" not in self.settings or not samples:
            return ()
        self.first = self.first or samples
        kind = self.settings.get("lends", "enough")
        size = {"enough": samples, "half": samples // 2, "once": self.first}[kind]
        lease = f"{self.member}-once" if kind == "once" else f"{self.member}-{round_}-{samples}"
        share = self.settings.get("share", 1.0)
        word = word_on(Path(self.settings["authority"]), self.member, lease, size, share=share)
        return (Use(word, self.claims(samples)),)

    def claims(self, samples: int) -> int:
        """Of how many an update is said to be: who shows the same word again says no more than that bears."""
        return min(samples, self.first) if self.settings.get("lends") == "once" else samples


class Walker:
    """State: the running sum of the averages, so that one wrong bit shows in every later digest."""

    def __init__(self, settings: dict[str, Any], lender: Lender) -> None:
        self.settings = settings
        self.lender = lender
        self.round = 0
        begin = tensors(0, settings["size"])
        self.state = begin if settings.get("donor") else {name: torch.zeros_like(t) for name, t in begin.items()}
        self.folder = Path(tempfile.gettempdir())
        self.lock = threading.Lock()

    def digest(self) -> str:
        return state_digest(self.state)

    def update(self) -> Tensors:
        """What it adds to this round."""
        settings = self.settings
        return SENT[settings.get("sends", "honest")](tensors(settings["seed"] * 1000 + self.round, settings["size"]))

    def claimed(self, samples: int) -> int:
        """Of how many it says that its update is."""
        return self.lender.claims(samples)

    def apply(self, mean: Tensors) -> None:
        with self.lock:
            for name, tensor in mean.items():
                self.state[name] = self.state[name] + tensor
            self.round += 1

    def snapshot(self) -> tuple[Path, int, str]:
        with self.lock:
            path, digest = self.folder / f"round-{self.round}.safetensors", self.digest()
            write_state(path, self.state, {"digest": digest, "round": str(self.round)})
            return path, self.round, digest

    def load(self, path: Path, round_: int) -> None:
        from peer.checkpoint import read_state

        with self.lock:
            self.state, self.round = read_state(path)[0], round_


def walk(walker: Walker, exchange: SwarmExchange) -> None:
    settings = walker.settings
    count = 0
    while walker.round < settings["rounds"]:
        view = exchange.progress(walker.round, count, 1.0)
        if view.phase is Phase.BEHIND:
            count = resync(walker, exchange, view.why)
        elif view.phase is Phase.CLOSING:
            if settings.get("freeze_at") == walker.round:
                os.kill(os.getpid(), signal.SIGSTOP)
            count = end_round(walker, exchange, count)
        else:
            time.sleep(settings.get("pace", 0.01))
            count += 4


def end_round(walker: Walker, exchange: SwarmExchange, count: int) -> int:
    settings, mine = walker.settings, walker.update()
    if 0 <= settings.get("lie_from", -1) <= walker.round:  # until it is found out: it may be late for a round
        walker.state["a"] += 1.0
    started = time.perf_counter()
    uses = walker.lender.uses(walker.round, count)
    said = walker.claimed(count)
    result = exchange.exchange(Update(walker.round, walker.digest(), said, mine, uses=uses))
    seconds = time.perf_counter() - started
    if isinstance(result, Applied):
        walker.apply(result.mean)
        average = hashlib.sha256(b"".join(t.numpy().tobytes() for _, t in sorted(result.mean.items()))).hexdigest()
        facts = {"members": result.members, "samples": result.samples, "own": count, "average": average}
        say("applied", round=walker.round, digest=walker.digest(), seconds=seconds, norm=result.norm, **facts)
        look_at_growth(walker, exchange)
        return 0
    if "differs from the majority" in result.why:
        settings["lie_from"] = -1
    say("not_applied", kind=type(result).__name__, why=result.why, seconds=seconds, round=walker.round)
    return resync(walker, exchange, result.why) if isinstance(result, Resync) else count


def look_at_growth(walker: Walker, exchange: SwarmExchange) -> None:
    every = walker.settings.get("sample_every", 0)
    if every and walker.round % every == 0:
        say("sample", round=walker.round, values=sampled(exchange))


def resync(walker: Walker, exchange: SwarmExchange, why: str) -> int:
    fetched = exchange.fetch_state(walker.round, walker.folder)
    if fetched is None:
        time.sleep(0.1)
        return 0
    walker.load(fetched.path, fetched.round)
    say("synced", round=fetched.round, digest=fetched.digest, why=why)
    return 0


def fetch(walker: Walker, exchange: SwarmExchange) -> None:
    """The state of those who hold one, with a word for each chunk."""
    gave: Counter[str] = Counter()
    count_donors(gave)
    began = time.perf_counter()
    while (fetched := exchange.fetch_state(0, walker.folder)) is None:
        say("nothing")
    say("fetched", digest=fetched.digest, path=str(fetched.path), gave=gave, seconds=time.perf_counter() - began)


def passed_in(folder: Path, authority: Path, identity: Identity, probation: bool) -> dict[str, Any]:
    """What a node needs where passes are asked for: `authority` is the folder of the coordinator's certificate."""
    key = NodeKey.made(folder / "node.key")
    who = {"member": identity.member_id, "public_key": identity.public_key, "probation": probation}
    own = pass_for(authority, key.peer_id, **who)
    Papers(own, time.time()).keep(folder / "papers")
    doorkeeper = Doorkeeper(Authority.of("test", (authority / "tls.pem").read_bytes()), folder / "papers")
    return {"identity_path": str(folder / "node.key"), "doorkeeper": doorkeeper}


def main(walks: type[Walker] = Walker) -> None:
    """`walks` is the kind of walker to be."""
    settings = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    clipped, needed = settings.get("clipped", False), settings.get("contributors", 1)
    closing, waited = SampleTarget(settings["target"], needed), max(needed, FEWEST if clipped else 1)
    rules = Rules(closing, settings.get("grace", 2.0), settings.get("patience", 10.0), waited)
    local = Local(codec=settings["local"], kept=settings.get("kept", KEPT)) if "local" in settings else None
    line = Line(lambda: settings.get("upload", 0.0))
    identity = Identity.from_seed(hashlib.sha256(str(settings["seed"]).encode()).digest())
    notary = Notary("test", signer_of(identity), 100 * settings["target"])
    options = ExchangeOptions(rules, settings.get("codec", "none"), local, line, notary=notary, clipped=clipped)
    folder = Path(tempfile.gettempdir())
    light = settings.get("share") == 0.0
    passed = passed_in(folder, Path(settings["authority"]), identity, light) if "authority" in settings else {}
    client = settings.get("client_mode", False)
    relay = settings.get("relay", "")
    name = identity.member_id
    node = NodeOptions("test", settings["initial_peers"], "127.0.0.1", client_mode=client, relay=relay, member=name)
    exchange = SwarmExchange.start(replace(node, **passed), options)
    if told := settings.get("lie"):
        LIES[told](exchange._way)  # type: ignore[arg-type]
    say("started", maddrs=exchange.maddrs(), member=name, papers=str(folder / "papers"))
    walker = walks(settings, Lender(settings, name))
    if settings.get("fetch"):
        fetch(walker, exchange)
    exchange.serve_state(lambda _: walker.snapshot())
    say("serves", digest=walker.digest(), id=exchange._node.id.hex())
    deadline = time.monotonic() + 15
    while exchange.others() < settings.get("await_others", 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(settings.get("settle", 1.5))  # a member is seen before it has looked around itself and takes part
    walk(walker, exchange)
    time.sleep(settings.get("linger", 1.0))
    exchange.close()
    shutil.rmtree(tempfile.gettempdir(), ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
