"""Try many swarms: `python -m tests.simulator --swarms 1000 --seed 7`. Ends with the shortest story that breaks one."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulator.search import shortest, story


def main() -> None:
    """Exit code 1 when a story was found that breaks the swarm."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--swarms", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first story; the next have the next ones")
    parser.add_argument("--go-on", action="store_true", help="also after one that breaks; without shortening")
    asked = parser.parse_args()
    began, bad = time.monotonic(), 0
    for seed in range(asked.seed, asked.seed + asked.swarms):
        if why := story(seed).broken():
            bad += 1
            print(f"seed {seed}: {why}", flush=True)
            if not asked.go_on:
                found = shortest(story(seed))
                print(f"{found}\n{found.broken()}")
                break
    print(f"{bad} of {asked.swarms} swarms from seed {asked.seed} on broke; {time.monotonic() - began:.0f} s")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
