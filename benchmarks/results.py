"""How benchmarks write down what they measured: docs/results/NAME.json, beside command, date and versions."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "docs" / "results"
PACKAGES = ("torch", "hivemind", "transformers", "grpcio", "protobuf", "numpy")


def record(name: str, figures: dict[str, Any], quick: bool) -> None:
    """Print the figures; unless `quick`, write them too."""
    facts = {
        "figures": figures,
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": f"{platform.machine()}, {_cores()} cores, Python {platform.python_version()}",
        "versions": {package: version(package) for package in PACKAGES},
    }
    print(json.dumps(figures, indent=2))
    if not quick:
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{name}.json"
        path.write_text(json.dumps(facts, indent=2) + "\n")
        print(f"written to docs/results/{path.name}")


def earlier(name: str) -> dict[str, Any]:
    """The figures of earlier calls; nothing before the first."""
    path = FOLDER / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text())["figures"] if path.exists() else {}
    return found


def tell(name: str, lines: Iterable[str]) -> None:
    """Put a table into docs/results.md, between its two marks there."""
    begin, end = f"<!-- {name}: written by its benchmark -->", f"<!-- end of {name} -->"
    path = FOLDER.parent / "results.md"
    before, _, rest = path.read_text().partition(begin)
    path.write_text("\n".join([f"{before}{begin}", *lines, f"{end}{rest.partition(end)[2]}"]))


def _commit() -> str:
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return said.stdout.strip()


def _cores() -> int:
    import psutil

    return psutil.cpu_count() or 1
