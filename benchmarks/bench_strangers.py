"""What lying members do to a swarm of five real processes, one and two of which attack.

python benchmarks/bench_strangers.py [--quick] [--game GAME …] [--count 1|2 …] [ATTACK…]

The peers are those of the tests of the exchange: hivemind, libp2p, leader, seals, passes, words on leases, screening
and aggregation are real, on loopback. They learn a logistic regression with 1,024 weights: in gradient mode (centered
clipping) 16 rounds, in local mode (sparse updates of 4 steps) 12. Final held-out loss and its gap to the swarm without
attackers in percent, beside the plain mean where that is to be had (gradient mode), and beside what it costs when so
many are absent. In one more game a round needs twice as many members as attack, and one: they are the majority of none.
Takes three quarters of an hour; --quick a minute. Rows of earlier calls stay in docs/results/strangers.json, each
with its date, until they are played again; so does the swarm without attackers ("nobody").
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.attacks import ATTACKS
from benchmarks.results import earlier, record, tell
from swarm.identity import server_certificate
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
    majority: bool = False  # whether a round needs so many that the attackers are a minority of them


_GRADIENT = {"task": {"steps": 1, "rate": 2.0}}
GAMES = (
    Game("gradient", 16, {**_GRADIENT, "clipped": True}),
    Game("gradient, honest majority", 16, {**_GRADIENT, "clipped": True}, majority=True),
    Game("gradient, plain mean", 16, _GRADIENT),
    Game("local", 12, {"task": {"steps": 4, "rate": 1.0}, "local": "sparse", "kept": 1024}),
)


def played(game: Game, attack: str, attackers: int) -> dict[str, Any]:
    """Five processes from start to end, or those who are not absent: the honest peers' loss, whether they agreed, and
    who took part at the end.
    """
    honest, lying = list(range(PEERS - attackers)), 0 if attack in ATTACKS and ATTACKS[attack].absent else attackers
    common = {"rounds": game.rounds, "size": SIZE, "target": 40, "await_others": len(honest) + lying - 1}
    needed = 2 * attackers + 1 if game.majority else 1
    with (
        TemporaryDirectory() as authority,
        exchange_peers(
            "benchmarks.learning_peer",
            **common,
            **game.settings,
            contributors=needed,
            patience=_PATIENCE,
            linger=3.0,
            authority=authority,
        ) as peers,
    ):
        server_certificate(Path(authority))
        good = [peers.start() for _ in honest]
        for place in range(lying):
            peers.start(attack=attack, honest=honest, peers=PEERS, place=place)
        losses = {peer.named("learned", 150)["loss"] for peer in good}
        assert all(len(kinds) == 1 for kinds in digests(good).values())
        assert len(losses) == 1
        return {"loss": round(losses.pop(), 4), "members": _members(good[0])}


def _members(peer: Program) -> int:
    return int(peer.every("applied")[-1]["members"])


def row(game: Game, attack: str, count: int, free: dict[str, Any]) -> dict[str, Any]:
    """One swarm, beside the one without attackers. One that does not come to its end has a row as well."""
    found = {**_tried(game, attack, count), "date": datetime.now(UTC).isoformat(timespec="minutes")}
    if "loss" in found and free:
        found["gap_percent"] = round(100 * (found["loss"] / free["loss"] - 1), 2)
    print(game.name, attack, count, found, file=sys.stderr, flush=True)
    return found


def _tried(game: Game, attack: str, count: int) -> dict[str, Any]:
    try:
        return played(game, attack, count)
    except AssertionError as error:
        print(error, file=sys.stderr, flush=True)
        return {"failed": str(error)[:200]}


def main() -> None:
    """Play and record, each row when it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attacks", nargs="*", default=[NOBODY, *ATTACKS])
    parser.add_argument("--game", nargs="+", choices=[game.name for game in GAMES], default=[g.name for g in GAMES])
    parser.add_argument("--count", nargs="+", type=int, default=[1, 2], help="of attackers")
    parser.add_argument("--quick", action="store_true", help="one attack by one peer; writes nothing")
    asked = parser.parse_args()
    if asked.quick:
        asked.attacks, asked.game, asked.count = [NOBODY, "sign flip"], [GAMES[0].name], [1]
    kept = {} if asked.quick else earlier("strangers")
    for game in [game for game in GAMES if game.name in asked.game]:
        for _ in played_rows(kept.setdefault(game.name, {}), game, asked):
            record("strangers", kept, asked.quick)
            if not asked.quick:
                tell("strangers", shown(kept))


def played_rows(rows: dict[str, Any], game: Game, asked: argparse.Namespace) -> Iterator[None]:
    """Each asked row of a game, put among the others; the attack-free one first."""
    if NOBODY in asked.attacks:
        rows[NOBODY] = row(game, NOBODY, 0, {})
        yield
    for attack in asked.attacks:
        if attack == NOBODY or game.name.split(",")[0] not in ATTACKS[attack].modes:
            continue
        for count in asked.count:
            rows.setdefault(attack, {})[str(count)] = row(game, attack, count, rows[NOBODY])
            yield


def shown(rows: dict[str, Any]) -> Iterator[str]:
    """The gaps as docs/results.md shows them."""
    heads = [f"{game.name}: {count} of {PEERS}" for game in GAMES for count in (1, 2)]
    yield f"| | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 1) + "|"
    for attack in ATTACKS:
        cells = [
            _cell(rows.get(game.name, {}).get(attack, {}).get(str(count), {})) for game in GAMES for count in (1, 2)
        ]
        yield f"| {' | '.join([attack, *cells])} |"


def _cell(row: dict[str, Any]) -> str:
    if "failed" in row:
        return "did not come to its end"
    return f"{row['gap_percent']:+,.1f}" if row else ""


if __name__ == "__main__":
    main()
