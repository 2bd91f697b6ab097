"""Files of the run, chunk by chunk from peers and the coordinator at once; what has arrived is given on.

Who is asked for what is decided in `peer.chunks`; here are the questions, the bytes, and the clock.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from peer.chunks import COORDINATOR, Ask, Done, Facts, Fetch, GiveUp, Record, Wait, decide, from_bits
from peer.exchange.node import NETWORK_ERRORS, Node
from peer.exchange.protocol import Servicer
from peer.held import Held, Part, Shelf, found
from swarm import log
from swarm.chunks import Manifest
from swarm.errors import StalledError, SwarmError, from_os_error
from swarm.proto import exchange_pb2 as pb
from swarm.transfer import require_space

logger = log.get(__name__)

PATIENCE_SECONDS = 300.0  # a coordinator that is restarted, or a line that is mended, ends no join
_HOLDINGS_SECONDS = 3.0  # how often the others are asked what they have
_ANSWER_SECONDS = 5.0
_SILENCE_SECONDS = 15.0  # a donor that sends nothing for so long is left
_SLOWEST = 16 << 10  # bytes per second; a slower chunk is asked of somebody else
_TELL_SECONDS = 2.0
_LOOK_SECONDS = 0.5

# Put a part of a file in its place: (sha256, offset, length, path). Raises SwarmError. Called from other threads.
Fallback = Callable[[str, int, int, Path], None]


@dataclass(frozen=True)
class Advance:
    """How far a fetch is: bytes here and in all, who gives just now, and, when nobody does, why it waits."""

    done: int
    total: int
    donors: int
    why: str

    def __str__(self) -> str:
        unit, name = (1e9, "GB") if self.total >= 1e9 else (1e6, "MB")
        donors = f" from {self.donors} donor{'s' * (self.donors != 1)}" if self.donors else ""
        return f"{self.done / unit:.1f} of {self.total / unit:.1f} {name}{donors}" + (f" ({self.why})" * bool(self.why))


Progress = Callable[[Advance], None]


class Busy(Exception):  # noqa: N818 - nothing went wrong
    """The donor serves others just now."""


class Delivery:
    """One peer's files. Everything here runs in the network's event loop."""

    def __init__(self, node: Node, shelf: Shelf) -> None:
        self._node = node
        self._shelf = shelf

    async def offer(self, files: Sequence[Manifest], folder: Path) -> list[Held]:
        """Give what is whole in `folder` to others from now on; says what that is."""
        held = [await asyncio.to_thread(found, manifest, folder) for manifest in files]
        whole = [item for item in held if item]
        for item in whole:
            self._shelf.put(item)
        return whole

    async def fetch(
        self, files: Sequence[Manifest], folder: Path, fallback: Fallback, progress: Progress
    ) -> list[Path]:
        """See `SwarmExchange.fetch_files`."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            whole = {item.manifest for item in await self.offer(files, folder)}
            missing = [manifest for manifest in files if manifest not in whole]
            _require_space(missing, folder)
            for manifest in missing:
                before = sum(item.size for item in whole)
                tell = _teller(progress, before, sum(item.size for item in files))
                await self._fetch_one(manifest, folder, fallback, tell)
                whole.add(manifest)
        except OSError as error:
            raise from_os_error(error, "fetching the run's files") from error
        return [folder / manifest.sha256 for manifest in files]

    async def _fetch_one(self, manifest: Manifest, folder: Path, fallback: Fallback, tell: Progress) -> None:
        part = Part(manifest, folder)
        try:
            if (held := await _opened(part, manifest, folder, tell)) is None:
                held = part.held
                self._shelf.put(held)
                await Fetching(self._node, part, fallback, tell, PATIENCE_SECONDS).run()
                await asyncio.to_thread(part.finish)
            self._shelf.put(held)
        finally:
            part.close()


async def _opened(part: Part, manifest: Manifest, folder: Path, tell: Progress) -> Held | None:
    """None when the part is ours to fill. Else another process of this machine fetched the file: that is it.

    Raises StalledError when that process has hold of it and brings nothing any more.
    """
    while (held := await asyncio.to_thread(found, manifest, folder)) is None:
        if await asyncio.to_thread(part.open):
            return None
        tell(Advance(0, manifest.size, 0, f"another peer on this machine fetches {manifest.name}"))
        if _age(part.held.path) > PATIENCE_SECONDS:
            raise StalledError(
                f"Another peer on this machine fetches {manifest.name}, but nothing came for {PATIENCE_SECONDS:.0f} s.",
                "Look what that peer waits for, or stop it; then join again.",
            )
        await asyncio.sleep(_LOOK_SECONDS)
    return held


def _age(path: Path) -> float:
    """Seconds since the file was written to."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


class Fetching:
    """One file on its way, from peers and, with a `fallback`, from the coordinator."""

    def __init__(
        self,
        node: Node,
        part: Part,
        fallback: Fallback | None,
        tell: Progress,
        patience: float,
    ) -> None:
        self._node = node
        self._part = part
        self._held = part.held
        self._manifest = part.held.manifest
        self._fallback = fallback
        self._tell = tell
        self._patience = patience  # seconds without a chunk
        self._donors: dict[bytes, frozenset[int]] = {}
        self._records: dict[bytes, Record] = {}
        self._asked: dict[asyncio.Task[None], Ask] = {}
        self._progress_at = 0.0
        self._broken: OSError | None = None
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Until every chunk is here. Raises StalledError, OSError (disk)."""
        order = random.sample(range(self._manifest.count), self._manifest.count)
        self._progress_at = time.monotonic()
        await self._ask_around()
        asking = asyncio.create_task(self._keep_asking_around())
        try:
            while not await self._step(order):
                pass
        finally:
            tasks = [asking, *self._asked]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _step(self, order: list[int]) -> bool:
        """Do what was decided, and wait for news; True at the end."""
        if self._broken:
            raise self._broken
        asked = [(ask.donor, ask.chunk) for ask in self._asked.values()]
        facts = Facts(order, self._held.here, self._donors, asked, self._records, self._progress_at)
        match decide(facts, time.monotonic(), self._patience):
            case Done():
                return True
            case GiveUp(why):
                raise StalledError(
                    f"{self._manifest.name} could not be fetched: {why}.",
                    "Check the network, and whether the coordinator runs; join again: what has arrived is kept.",
                )
            case Fetch(asks):
                for ask in asks:
                    self._send(ask)
            case Wait(until, why):
                self._say("" if asked else why)
                await self._news(until)
        return False

    async def _news(self, until: float) -> None:
        self._changed.clear()
        seconds = min(_LOOK_SECONDS, max(0.0, until - time.monotonic()))
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return

    def _say(self, why: str) -> None:
        done = sum(self._manifest.span(chunk)[1] for chunk in self._held.here)
        self._tell(Advance(done, self._manifest.size, len({ask.donor for ask in self._asked.values()}), why))

    def _send(self, ask: Ask) -> None:
        task = asyncio.create_task(self._get(ask))
        self._asked[task] = ask
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._asked.pop(task, None)
        self._changed.set()

    async def _get(self, ask: Ask) -> None:
        """Ask, keep what is right, and note what came of it."""
        try:
            right = await (self._from_coordinator(ask) if ask.donor == COORDINATOR else self._from_peer(ask))
        except Busy:
            self._note(ask.donor, lambda record: record.busy(time.monotonic()))
        except (*NETWORK_ERRORS, SwarmError) as error:
            logger.info("chunk %d of %s did not come: %r", ask.chunk, self._manifest.name, error)
            self._note(ask.donor, lambda record: record.failed(time.monotonic()))
        else:
            (self._keep if right else self._leave)(ask)

    def _keep(self, ask: Ask) -> None:
        self._held.here.add(ask.chunk)
        self._progress_at = time.monotonic()
        self._note(ask.donor, Record.served)

    def _leave(self, ask: Ask) -> None:
        logger.warning("wrong bytes for chunk %d of %s; their donor is not asked again", ask.chunk, self._manifest.name)
        self._note(ask.donor, Record.caught)

    def _note(self, donor: bytes, change: Callable[[Record], Record]) -> None:
        self._records[donor] = change(self._records.get(donor, Record()))

    async def _from_coordinator(self, ask: Ask) -> bool:
        assert self._fallback, "without it the coordinator is no donor"
        offset, length = self._manifest.span(ask.chunk)
        await asyncio.to_thread(self._fallback, self._manifest.sha256, offset, length, self._held.path)
        return await asyncio.to_thread(self._part.check, ask.chunk)

    async def _from_peer(self, ask: Ask) -> bool:
        _, length = self._manifest.span(ask.chunk)
        async with asyncio.timeout(_SILENCE_SECONDS + length / _SLOWEST):
            data = await self._receive(ask, length)
        return await asyncio.to_thread(self._write, ask.chunk, data)

    async def _receive(self, ask: Ask, length: int) -> bytes:
        """The chunk's bytes as the peer has them. Raises Busy, EOFError when there are fewer, NETWORK_ERRORS."""
        stub = self._node.stub(Servicer, ask.donor)
        request = pb.ChunkRequest(sha256=self._manifest.sha256, chunk=ask.chunk)
        data = bytearray()
        async with aclosing(await stub.rpc_chunk(request)) as stream:
            while len(data) < length:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    part: pb.ChunkPart | None = await anext(stream, None)
                if part is None:
                    raise EOFError(f"{len(data)} of {length} bytes")
                if part.busy:
                    raise Busy
                data += part.data
                self._node.line.passed(len(part.data))
        return bytes(data)

    def _write(self, chunk: int, data: bytes) -> bool:
        """A disk that fails ends the fetch; it must not count against the donor."""
        try:
            return self._part.write(chunk, data)
        except OSError as error:
            self._broken = error
            raise

    async def _keep_asking_around(self) -> None:
        while True:
            await asyncio.sleep(_HOLDINGS_SECONDS)
            await self._ask_around()

    async def _ask_around(self) -> None:
        """Who has which chunks now. Who cannot be dialled is not asked; who does not answer holds nothing."""
        members = [m.peer_id for m in self._node.members() if m.peer_id != self._node.id and not m.client_mode]
        answers = await asyncio.gather(*map(self._holdings, members))
        held = {donor: chunks for donor, chunks in zip(members, answers, strict=True) if chunks}
        whole = {COORDINATOR: frozenset(range(self._manifest.count))} if self._fallback else {}
        self._donors = {**whole, **held}
        self._changed.set()

    async def _holdings(self, donor: bytes) -> frozenset[int]:
        stub = self._node.stub(Servicer, donor)
        try:
            request = pb.HoldingsRequest(sha256=self._manifest.sha256)
            answer: pb.Holdings = await stub.rpc_holdings(request, timeout=_ANSWER_SECONDS)
        except NETWORK_ERRORS as error:
            logger.info("a member did not say what it has: %r", error)
            return frozenset()
        return from_bits(answer.chunks, self._manifest.count)


def _require_space(missing: Sequence[Manifest], folder: Path) -> None:
    arrived = [folder / f"{manifest.sha256}.part" for manifest in missing]
    there = sum(path.stat().st_blocks * 512 for path in arrived if path.exists())
    require_space(folder, sum(manifest.size for manifest in missing) - there)


def _teller(progress: Progress, before: int, total: int) -> Progress:
    """Tell of one file as a part of all, every two seconds; nothing of what is there at once."""
    said = time.monotonic() - _TELL_SECONDS + _LOOK_SECONDS

    def tell(file: Advance) -> None:
        nonlocal said
        if time.monotonic() - said >= _TELL_SECONDS:
            said = time.monotonic()
            progress(Advance(before + file.done, total, file.donors, file.why))

    return tell
