"""What lying members do to a swarm of five real processes, one and two of which attack.

python benchmarks/bench_strangers.py [--quick] [--game GAME …] [ATTACK…]

The peers are those of the tests of the exchange: hivemind, libp2p, leader, seals, screening and aggregation are real,
on loopback. They learn a logistic regression with 1,024 weights: in gradient mode (centered clipping) 16 rounds, in
local mode (sparse updates of 4 steps) 12. Final held-out loss and its gap to the swarm without attackers in percent,
beside the plain mean where that is to be had (gradient mode). Takes half an hour; --quick a minute. Rows of earlier
calls stay in docs/results/strangers.json, each with its date, until they are played again.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.attacks import ATTACKS
from benchmarks.results import FOLDER, record
from tests.harness import Program, digests, exchange_peers

PEERS = 5
NOBODY = "nobody"
SIZE = 1024
_PATIENCE = 12.0  # seconds


@dataclass(frozen=True)
class Game:
    """One way to exchange."""

    name: str
    rounds: int
    settings: dict[str, Any]


_GRADIENT = {"task": {"steps": 1, "rate": 2.0}}
GAMES = (
    Game("gradient", 16, {**_GRADIENT, "clipped": True}),
    Game("gradient, plain mean", 16, _GRADIENT),
    Game("local", 12, {"task": {"steps": 4, "rate": 1.0}, "local": "sparse", "kept": 1024}),
)


def played(game: Game, attack: str, attackers: int) -> dict[str, Any]:
    """Five processes from start to end: the honest peers' loss, whether they agreed, and who took part at the end."""
    common = {"rounds": game.rounds, "size": SIZE, "target": 40, "await_others": PEERS - 1, "patience": _PATIENCE}
    honest = list(range(PEERS - attackers))
    with exchange_peers("benchmarks.learning_peer", **common, **game.settings, linger=3.0) as peers:
        good = [peers.start() for _ in honest]
        for place in range(attackers):
            peers.start(attack=attack, honest=honest, peers=PEERS, place=place)
        losses = {peer.named("learned", 150)["loss"] for peer in good}
        assert all(len(kinds) == 1 for kinds in digests(good).values())
        assert len(losses) == 1
        return {"loss": round(losses.pop(), 4), "members": _members(good[0])}


def _members(peer: Program) -> int:
    return int(peer.every("applied")[-1]["members"])


def table(game: Game, attacks: list[str], counts: tuple[int, ...]) -> dict[str, Any]:
    """All attacks that are anything in this mode."""
    free = played(game, NOBODY, 0)
    rows: dict[str, Any] = {NOBODY: free}
    for attack in attacks:
        if game.name.split(",")[0] not in ATTACKS[attack].modes:
            continue
        for count in counts:
            row = rows.setdefault(attack, {})[str(count)] = _tried(game, attack, count)
            if "loss" in row:
                row["gap_percent"] = round(100 * (row["loss"] / free["loss"] - 1), 2)
            row["date"] = datetime.now(UTC).isoformat(timespec="minutes")
            print(game.name, attack, count, row, file=sys.stderr, flush=True)
    return rows


def _tried(game: Game, attack: str, count: int) -> dict[str, Any]:
    """A swarm that does not come to its end has a row as well."""
    try:
        return played(game, attack, count)
    except AssertionError as error:
        return {"failed": str(error)[:200]}


def main() -> None:
    """Play and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attacks", nargs="*", default=list(ATTACKS))
    parser.add_argument("--game", nargs="+", choices=[game.name for game in GAMES], default=[g.name for g in GAMES])
    parser.add_argument("--quick", action="store_true", help="one attack by one peer; writes nothing")
    asked = parser.parse_args()
    games = [game for game in GAMES if game.name in asked.game]
    games, attacks, counts = (games[:1], ["sign flip"], (1,)) if asked.quick else (games, asked.attacks, (1, 2))
    kept = {} if asked.quick else earlier()
    for game in games:
        kept[game.name] = kept.get(game.name, {}) | table(game, attacks, counts)
        record("strangers", kept, asked.quick)


def earlier() -> dict[str, Any]:
    """What earlier calls found."""
    path = FOLDER / "strangers.json"
    found: dict[str, Any] = json.loads(path.read_text())["figures"] if path.exists() else {}
    return found


if __name__ == "__main__":
    main()
