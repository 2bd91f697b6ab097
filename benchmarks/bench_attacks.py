"""What lying members do to a run: sixteen replicas in one process, three and seven of which attack.

python benchmarks/bench_attacks.py [--quick] [--cache FOLDER]

A Llama of 65 thousand parameters learns the built-in text in gradient mode (60 rounds) and in local mode (sparse
updates, 16 rounds of 8 steps). Screening and aggregation are those of the peers; beside each the plain mean. Three
attack in every round; seven from a quarter to half of the run, and are gone then, as after a ban: that shows whether
the run recovers. Finished runs are kept in the folder that --cache names.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch

from benchmarks.arena import (
    Arena,
    Combine,
    Game,
    Standing,
    mean_of_gradients,
    mean_of_updates,
    robust_gradients,
    robust_updates,
    within,
)
from benchmarks.attacks import ATTACKS
from benchmarks.malformed import refusals
from benchmarks.replicas import Ground
from benchmarks.results import FOLDER, record
from peer.codecs import codec_of
from peer.modes import most_samples
from swarm.runspec import RunSpec

PEERS = 16
NOBODY = "nobody"
GAMES = (Game("gradient", rounds=60, size=16, rate=8e-3), Game("local", rounds=16, steps=8))
QUICK = (Game("gradient", rounds=4), Game("local", rounds=2, steps=2))
QUICK_ATTACKS = ("sign flip", "NaN")
WAYS = ("robust", "mean")
POINTS = 4  # of a curve


@dataclass(frozen=True)
class Run:
    """One training run."""

    mode: str
    attack: str
    attackers: int
    way: str

    @property
    def when(self) -> tuple[float, float]:
        """The part of the run in which attackers attack: a majority's worth of them is gone after half of it."""
        return (0.0, 1.0) if 2 * self.attackers < PEERS // 2 else (0.25, 0.5)


def runs(attacks: tuple[str, ...]) -> Iterator[Run]:
    """All of them, the attack-free first."""
    for mode in ("gradient", "local"):
        for way in WAYS:
            yield Run(mode, NOBODY, 0, way)
    for attack in attacks:
        for mode in ATTACKS[attack].modes:
            for attackers in (3, 7):
                for way in WAYS:
                    yield Run(mode, attack, attackers, way)


@dataclass(frozen=True)
class Bench:
    """The games, and where finished runs are kept."""

    games: tuple[Game, ...]
    cache: Path

    def standings(self, run: Run) -> list[Standing]:
        """Computed or found."""
        game = next(game for game in self.games if game.mode == run.mode)
        key = hashlib.sha256(repr((game, run)).encode()).hexdigest()[:24]
        kept = self.cache / f"{key}.json"
        if not kept.exists():
            kept.write_text(json.dumps(list(self._play(game, run))))
        found = [Standing(*facts) for facts in json.loads(kept.read_text())]
        print(*astuple(run), f"{found[-1].loss:.4f}", file=sys.stderr, flush=True)
        return found

    def _play(self, game: Game, run: Run) -> Iterator[Standing]:
        folder = self.cache / game.mode
        folder.mkdir(exist_ok=True)
        spec = game.spec(folder, PEERS)
        begin, end = (int(part * game.rounds) for part in run.when)
        ground = Ground.prepare(spec, folder / "ground")
        attack = ATTACKS.get(run.attack, ATTACKS["zeros"])
        arena = Arena(ground, spec, PEERS, run.attackers, attack, range(begin, end), _combine(spec, run.way))
        return arena.losses(max(game.rounds // POINTS, 1))


def _combine(spec: RunSpec, way: str) -> Combine:
    gradient, codec = spec.training.mode == "gradient", codec_of(spec.local)
    if way == "mean":
        return mean_of_gradients if gradient else mean_of_updates(codec)
    return within(most_samples(spec), robust_gradients if gradient else robust_updates(codec, spec.local.clip))


def summary(found: dict[Run, list[Standing]]) -> dict[str, Any]:
    """Final losses, the gap to the attack-free run of the same way in percent, and who was refused."""
    rows: dict[str, Any] = {}
    for run, standings in found.items():
        last = standings[-1]
        free = found[Run(run.mode, NOBODY, 0, run.way)][-1].loss
        row = rows.setdefault(run.mode, {}).setdefault(run.attack, {}).setdefault(f"{run.attackers} {run.way}", {})
        finite = bool(np.isfinite(last.loss))
        row["loss"] = round(last.loss, 4) if finite else None
        row["gap_percent"] = round(100 * (last.loss / free - 1), 2) if finite else None
        row["refused_percent"] = round(100 * last.refused, 1)
        row["refused_honest_percent"] = round(100 * last.refused_honest, 2)
    return rows


def main() -> None:
    """Play, record and draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="under a minute; writes nothing")
    parser.add_argument("--cache", type=Path, help="a folder that keeps finished runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    np.seterr(all="ignore")  # attackers send what is not finite
    with tempfile.TemporaryDirectory() as temporary:
        cache = options.cache or Path(temporary)
        cache.mkdir(parents=True, exist_ok=True)
        bench = Bench(QUICK if options.quick else GAMES, cache)
        found = {run: bench.standings(run) for run in runs(QUICK_ATTACKS if options.quick else tuple(ATTACKS))}
    figures = {
        "peers": PEERS,
        "runs": summary(found),
        "malformed": refusals(),
    }
    if not options.quick:
        from benchmarks.plots import attacks

        attacks(figures["runs"], FOLDER / "attacks.png")
    record("attacks", figures, options.quick)


if __name__ == "__main__":
    main()
