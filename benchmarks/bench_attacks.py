"""What lying members do to a run: sixteen replicas in one process, three and seven of which attack.

python benchmarks/bench_attacks.py [--quick] [--only ATTACK …] [--mode MODE …] [--way WAY …] [--count 3|7 …]
    [--seeds 1] [--cache FOLDER]

A Llama of 65 thousand parameters learns the built-in text in gradient mode (60 rounds) and in local mode (sparse
updates, 16 rounds of 8 steps). Screening and aggregation are those of the peers; beside each the plain mean. Three
attack in every round; seven from a quarter to half of the run, and are gone then, as after a ban: that shows whether
the run recovers. A gap is to the attack-free run of the same seed; with several seeds its mean and the standard error
of that are written. Rows of earlier calls stay in docs/results/attacks.json until they are played again. Finished runs
are kept in the folder that --cache names.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from itertools import product
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
from benchmarks.results import FOLDER, earlier, record, tell
from peer.codecs import codec_of
from peer.modes import most_samples
from swarm.runspec import RunSpec

PEERS = 16
NOBODY = "nobody"
GAMES = (Game("gradient", rounds=60, size=16, rate=8e-3), Game("local", rounds=16, steps=8))
QUICK = (Game("gradient", rounds=4), Game("local", rounds=2, steps=2))
QUICK_ATTACKS = ("sign flip", "NaN")
MODES, WAYS, COUNTS = ("gradient", "local"), ("robust", "mean"), (3, 7)
POINTS = 4  # of a curve
_LOST = 1000  # percent


@dataclass(frozen=True)
class Run:
    """One training run."""

    mode: str
    attack: str
    attackers: int
    way: str
    seed: int = 0

    @property
    def when(self) -> tuple[float, float]:
        """The part of the run in which attackers attack: a majority's worth of them is gone after half of it."""
        return (0.0, 1.0) if 2 * self.attackers < PEERS // 2 else (0.25, 0.5)


def runs(asked: argparse.Namespace) -> Iterator[Run]:
    """All of them, the attack-free first."""
    for mode, way, seed in product(asked.mode, asked.way, range(asked.seeds)):
        yield Run(mode, NOBODY, 0, way, seed)
    for attack, mode, attackers in product(asked.only, asked.mode, asked.count):
        if mode in ATTACKS[attack].modes:
            for way, seed in product(asked.way, range(asked.seeds)):
                yield Run(mode, attack, attackers, way, seed)


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
        folder = self.cache / f"{game.mode}-{run.seed}"
        folder.mkdir(exist_ok=True)
        spec = game.spec(folder, PEERS, run.seed)
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
    """Of all runs that differ in their seed alone: the mean of the final losses, of their gaps to the attack-free run
    of the same way and seed in percent with the standard error, and who was refused.
    """
    seeds: dict[Run, list[Run]] = {}
    for run in found:
        seeds.setdefault(replace(run, seed=0), []).append(run)
    rows: dict[str, Any] = {}
    for kind, same in seeds.items():
        free = [found[Run(run.mode, NOBODY, 0, run.way, run.seed)][-1].loss for run in same]
        row = _row([found[run][-1] for run in same], free)
        rows.setdefault(kind.mode, {}).setdefault(kind.attack, {})[f"{kind.attackers} {kind.way}"] = row
    return rows


def _row(ends: Sequence[Standing], free: Sequence[float]) -> dict[str, Any]:
    losses = np.array([end.loss for end in ends])
    gaps = 100 * (losses / free - 1)
    finite = bool(np.isfinite(losses).all())
    row = {
        "loss": round(float(losses.mean()), 4) if finite else None,
        "gap_percent": round(float(gaps.mean()), 2) if finite else None,
        "refused_percent": round(100 * float(np.mean([end.refused for end in ends])), 1),
        "refused_honest_percent": round(100 * float(np.mean([end.refused_honest for end in ends])), 2),
        "seeds": len(ends),
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
    }
    if finite and len(ends) > 1:
        row["gap_error_percent"] = round(float(gaps.std(ddof=1)) / len(ends) ** 0.5, 2)
    return row


def joined(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Rows that were played anew take the place of old ones."""
    merged = {**old}
    for key, value in new.items():
        row = "loss" in value
        merged[key] = value if row else joined(old.get(key, {}), value)
    return merged


def table(mode: str, rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    """The gaps as docs/results.md shows them."""
    late = "7 of 16, gone after half"
    yield f"| {mode} mode | 3 of 16: robust (refused) | plain mean | {late}: robust (refused) | plain mean |"
    yield "|---|---|---|---|---|"
    for attack in ATTACKS:
        if found := rows.get(attack):
            cells = [_cell(found.get(f"{count} {way}"), way) for count in COUNTS for way in WAYS]
            yield f"| {' | '.join([attack, *cells])} |"


def _cell(row: Mapping[str, Any] | None, way: str) -> str:
    if row is None:
        return ""
    gap = row["gap_percent"]
    lost = gap is not None and gap > _LOST
    shown = "NaN" if gap is None else "lost" if lost else f"{gap:+.1f}"
    error = f" ± {row['gap_error_percent']:.1f}" if "gap_error_percent" in row and not lost else ""
    return f"{shown}{error}" + (f" ({row['refused_percent']:.0f})" if way == "robust" else "")


def main() -> None:
    """Play, record and draw."""
    asked = _asked()
    torch.set_num_threads(1)
    np.seterr(all="ignore")  # attackers send what is not finite
    with tempfile.TemporaryDirectory() as temporary:
        cache = asked.cache or Path(temporary)
        cache.mkdir(parents=True, exist_ok=True)
        bench = Bench(QUICK if asked.quick else GAMES, cache)
        found = summary({run: bench.standings(run) for run in runs(asked)})
    rows = found if asked.quick else joined(earlier("attacks").get("runs", {}), found)
    if not asked.quick:
        from benchmarks.plots import attacks

        attacks(rows, FOLDER / "attacks.png")
        for mode in MODES:
            tell(f"attacks, {mode}", table(mode, rows[mode]))
    record("attacks", {"peers": PEERS, "runs": rows, "malformed": refusals()}, asked.quick)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="under a minute; writes nothing")
    parser.add_argument("--only", nargs="+", choices=ATTACKS, default=list(ATTACKS), metavar="ATTACK")
    parser.add_argument("--mode", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--way", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--count", nargs="+", type=int, choices=COUNTS, default=COUNTS, help="of attackers")
    parser.add_argument("--seeds", type=int, default=1, help="that each is played with")
    parser.add_argument("--cache", type=Path, help="a folder that keeps finished runs")
    asked = parser.parse_args()
    if asked.quick:
        asked.only, asked.seeds = list(QUICK_ATTACKS), 1
    return asked


if __name__ == "__main__":
    main()
