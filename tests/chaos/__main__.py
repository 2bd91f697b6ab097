"""Let faults happen to a swarm of real processes: `python -m tests.chaos --seed 7 --minutes 10 --peers 8 --lab`.

Prints the plan as it is carried out, and the result. Exit code 1, with the seed and the place of all files, when
anything that must hold does not.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.figures import figures
from tests.chaos.plan import MEANS, plan
from tests.chaos.setting import Setting
from tests.chaos.story import Record, tell
from tests.leftovers import nothing_left


def main() -> None:
    """Carry out one plan, and judge."""
    asked = _arguments()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    setting = Setting(asked.peers, asked.mode, asked.lab)
    if asked.lab and (why := _no_lab()):
        sys.exit(f"No run: {why}.")
    again = f"python -m tests.chaos --seed {asked.seed} --minutes {asked.minutes:g} --peers {asked.peers}"
    print(f"{again} --mode {asked.mode}{' --lab' if asked.lab else ''}")
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    record = carried_out(setting, asked.seed, asked.minutes * 60, folder)
    with (folder / "said.jsonl").open("w") as file:
        file.writelines(json.dumps([round(at, 2), name, event]) + "\n" for at, name, event in record.said)
    for name, figure in figures(record).items():
        print(f"{name}: {figure}")
    for why in record.wrong:
        print(f"WRONG: {why}")
    if record.wrong:
        sys.exit(f"seed {asked.seed}: {len(record.wrong)} things do not hold; all files are in {folder}")
    if asked.keep:
        print(f"all files are in {folder}")
    else:
        shutil.rmtree(folder)
    print(f"seed {asked.seed}: all holds")


def carried_out(setting: Setting, seed: int, seconds: float, folder: Path) -> Record:
    """The plan of a seed in a swarm of its own."""
    faults, began, record = plan(seed, seconds, setting.peers, setting.kinds), time.monotonic(), Record()
    try:
        with nothing_left(), setting.stage(folder) as (run, stage):
            record = tell(run, stage, faults, seconds, lambda text: print(f"{time.monotonic() - began:6.1f} | {text}"))
    except AssertionError as error:
        record.wrong.append(str(error))
    return record


def _no_lab() -> str:
    from tests.lab import kernel

    return kernel.missing()


def _arguments() -> argparse.Namespace:
    words = "\n".join(f"  {kind:7} {means}" for kind, (means, _, _) in MEANS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=f"Let faults happen to a swarm of real processes.\n{words}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the plan")
    parser.add_argument("--minutes", type=float, default=2.0, help="in which faults happen")
    parser.add_argument("--peers", type=int, default=5)
    parser.add_argument("--mode", choices=["gradient", "local"], default="gradient")
    parser.add_argument("--lab", action="store_true", help="on home links, which are cut and slowed; needs root")
    parser.add_argument("--keep", action="store_true", help="keep all files also when all holds")
    return parser.parse_args()


if __name__ == "__main__":
    main()
