"""How long every decoder that takes bytes from the network was given what nobody would send, and what it survived.

python benchmarks/bench_fuzz.py [--minutes 10] [--only NAME …] [--quick]

Each row of `tests.fuzz.decoders` runs in a process of its own, one after the other; minutes are the processor's, so
that it may run beside other work. They are of each decoder: the rows that are messages of one share them, and get one
at least. A crash is an exception that is none of the row's errors, the end of the process, an
input that takes more than 2 s, or more memory than twice the row's limit: of all together as the growth of the process,
and of one input as tracemalloc counts it in the last tenth of the time. `--only` takes the rows whose names begin so,
`--missing` those that were not recorded for as long yet, or crashed. Rows of earlier calls stay in
docs/results/fuzz.json, each with its date, until they run again.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import earlier, record, tell
from tests.fuzz.decoders import decoder_of, table
from tests.fuzz.run import fuzz, outcome

_QUICK_SECONDS = 0.25
_SLOWEST = 20  # times as long as it was given in the processor's seconds, a row takes at most beside other work
_SPARE = 120.0  # seconds for its start
_LEAST = 1.0  # minutes of a row


def row(name: str, seconds: float, seed: int, last: Path) -> dict[str, Any]:
    """Run one row in this process. `last` keeps the input that is tried, for the case that the process ends with it."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    decoder = table()[name]
    for data in decoder.seeds:
        outcome(decoder, data)
    with last.open("wb", buffering=0) as file:

        def note(data: bytes) -> None:
            os.pwrite(file.fileno(), len(data).to_bytes(8, "little") + data, 0)

        found = fuzz(decoder, seconds, seed, note)
    if found.growth > 2 * decoder.limit:
        found.crashes[f"seed {seed}"] = f"memory: the process grew by {found.growth} bytes"
    return {
        "minutes": round(found.seconds / 60, 2),
        "runs": found.runs,
        "runs_per_second": round(found.runs / found.seconds),
        "crashes": found.crashes,
        "peak": found.peak,
        "growth": found.growth,
        "limit": decoder.limit,
        "slowest_seconds": round(found.slowest, 3),
    }


def apart(name: str, seconds: float, seed: int) -> dict[str, Any]:
    """The row in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        last = Path(folder) / "last"
        command = [sys.executable, __file__, "--row", name, "--seconds", str(seconds), "--seed", str(seed)]
        try:
            ended = subprocess.run(
                [*command, "--last", str(last)],
                capture_output=True,
                text=True,
                check=False,
                timeout=_SLOWEST * seconds + _SPARE,
            )
        except subprocess.TimeoutExpired:
            return {"runs": 0, "crashes": {_input(last): "the process went on for ever"}}
        if ended.returncode == 0:
            found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
            return found
        why = f"the process ended with {ended.returncode}: {ended.stderr[-300:]}"
        return {"runs": 0, "crashes": {_input(last): why}}


def _input(last: Path) -> str:
    """What was tried last, in hex."""
    data = last.read_bytes() if last.exists() else b""
    return data[8 : 8 + int.from_bytes(data[:8], "little")].hex()


def recorded() -> dict[str, Any]:
    """The rows of earlier calls."""
    return {name: found for name, found in earlier("fuzz").get("rows", {}).items() if name in table()}


def shares(minutes: float) -> dict[str, float]:
    """How long each row runs, so that each decoder gets that many minutes."""
    rows = Counter(map(decoder_of, table().values()))
    return {name: max(minutes / rows[decoder_of(row)], min(_LEAST, minutes)) for name, row in table().items()}


def _is_missing(found: Mapping[str, Any], share: float) -> bool:
    """Whether a row was not recorded for so many minutes, but for the rounding of that, or what it found is to be tried
    again once it is mended.
    """
    return float(found.get("minutes", 0.0)) + 0.005 < share or bool(found.get("crashes"))


def summary(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What is said of all of them together."""
    minutes: Counter[str] = Counter()
    for name, row in table().items():
        minutes[decoder_of(row)] += rows.get(name, {}).get("minutes", 0.0)
    return {
        "rows": dict(sorted(rows.items())),
        "decoders": len(minutes),
        "messages": len(table()),
        "missing": sorted(table().keys() - rows.keys()),
        "shortest_minutes_of_a_decoder": min(minutes.values()),
        "shortest_minutes_of_a_message": min((found.get("minutes", 0.0) for found in rows.values()), default=0.0),
        "runs": sum(found["runs"] for found in rows.values()),
        "crashes": sum(len(found["crashes"]) for found in rows.values()),
    }


def shown(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The table for docs/results.md."""
    yield "| decoder | minutes | inputs | per second | crashes | peak of one input | growth | limit | date |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name in sorted(rows):
        yield _line(name, rows[name])


def _line(name: str, found: Mapping[str, Any]) -> str:
    sizes = [f"{found.get(key, 0) / 1e6:.1f} MB" for key in ("peak", "growth", "limit")]
    speed = found.get("runs_per_second", 0)
    cells = [name, f"{found.get('minutes', 0):g}", f"{found['runs']:,}", f"{speed:,}", str(len(found["crashes"]))]
    return f"| {' | '.join([*cells, *sizes, str(found['date'])[:10]])} |"


def main() -> None:
    """Run the rows and record them; or, for its own processes, one of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0, help="of each decoder")
    parser.add_argument("--only", nargs="+", default=[""], help="rows whose names begin so")
    parser.add_argument("--missing", action="store_true", help="only rows that have less, or crashed")
    parser.add_argument("--quick", action="store_true", help="a moment of each; writes nothing")
    parser.add_argument("--seed", type=int, default=int(datetime.now(UTC).timestamp()))
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--last", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        print(json.dumps(row(given.row, given.seconds, given.seed, given.last)))
        return
    names = {name: share for name, share in sorted(shares(given.minutes).items()) if name.startswith(tuple(given.only))}
    if given.missing:
        known = recorded()
        names = {name: share for name, share in names.items() if _is_missing(known.get(name, {}), share)}
    if given.quick:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            found = {name: row(name, _QUICK_SECONDS, given.seed, Path(folder) / "last") for name in names}
        record("fuzz", summary({**found}), quick=True)
        return
    for name, share in names.items():
        made = apart(name, 60 * share, given.seed)
        made |= {"date": datetime.now(UTC).isoformat(timespec="seconds"), "seed": given.seed}
        rows = {**recorded(), name: made}
        record("fuzz", summary(rows), quick=False)  # after each, so that hours are not lost
        tell("fuzz", shown(rows))


if __name__ == "__main__":
    main()
