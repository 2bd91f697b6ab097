"""The stage in the lab: every peer on a host of its own, behind a home link that can be cut and slowed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import faults
from tests.chaos.stage import Stage, peer_names
from tests.lab import Lab, Link, lab
from tests.lab.swarm import LabRun, lab_run

_HOME = Link(up_mbit=50, down_mbit=50, delay_ms=5)
_HIDDEN = Link(up_mbit=50, down_mbit=50, delay_ms=5, nat=True)
_COORDINATOR = "coordinator"


def links(names: Sequence[str]) -> Mapping[str, Link | None]:
    """A home for each peer; the last is behind NAT, so the others reach it through the swarm's relay."""
    return {_COORDINATOR: None, **dict.fromkeys(names, _HOME), names[-1]: _HIDDEN}


class Homes(Stage):
    """A stage whose lines can be cut and slowed."""

    def __init__(self, run: LabRun, net: Lab, peers: int) -> None:
        super().__init__(run, peers)
        self._net = net

    @contextmanager
    def _cut(self, names: Sequence[str]) -> Iterator[None]:
        first, *others = names
        with self._apart((first, other) for other in others or [_COORDINATOR]):
            yield

    @contextmanager
    def _split(self, names: Sequence[str]) -> Iterator[None]:
        others = [_COORDINATOR, *(name for name in self.names if name not in names)]
        with self._apart((name, other) for name in names for other in others):
            yield

    @contextmanager
    def _apart(self, pairs: Iterable[tuple[str, str]]) -> Iterator[None]:
        cut = list(pairs)
        for pair in cut:
            faults.cut(self._net, *pair)
        yield
        for pair in cut:
            faults.heal(self._net, *pair)

    @contextmanager
    def _slow(self, names: Sequence[str]) -> Iterator[None]:
        for name in names:
            faults.slow(self._net, name, _HOME.up_mbit / 10, _HOME.down_mbit / 10)
        yield
        for name in names:
            faults.slow(self._net, name, _HOME.up_mbit, _HOME.down_mbit)


@contextmanager
def homes(folder: Path, peers: int, values: Mapping[str, Any]) -> Iterator[tuple[LabRun, Homes]]:
    """A run in a lab of its own, and its stage."""
    names = peer_names(peers)
    with lab(links(names)) as net, lab_run(net, folder, **values) as run:
        yield run, Homes(run, net, peers)
