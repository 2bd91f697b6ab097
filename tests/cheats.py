"""A volunteer of a whole swarm that cheats in a way that no other member sees in its updates alone."""

from __future__ import annotations

from pathlib import Path

from tests.harness import ROOT

_OTHER_DATA = """\
import sys

if "peer.worker" in sys.orig_argv:
    from peer.shards import Shards
    from swarm.ranges import Range

    honest = Shards.load

    def load(self, positions):
        start = self._layout.samples_per_epoch - positions.start % self._layout.samples_per_epoch - len(positions)
        return honest(self, Range(max(start, 0), max(start, 0) + len(positions)))

    Shards.load = load
"""


def on_other_data(folder: Path) -> dict[str, str]:
    """The environment of a volunteer that trains on other samples than it leased, and says that it did not. Python
    imports `sitecustomize` before all else.
    """
    (folder / "cheat").mkdir()
    (folder / "cheat" / "sitecustomize.py").write_text(_OTHER_DATA)
    return {"PYTHONPATH": f"{folder / 'cheat'}:{ROOT}"}


_OTHER_ANSWERS = """\
import sys

if "swarm.cli" in sys.orig_argv:
    from dataclasses import replace

    from swarm.cli import trialing

    honest = trialing.examined

    def examined(*arguments, **options):
        return tuple(replace(item, value=item.value * 1.5) for item in honest(*arguments, **options))

    trialing.examined = examined
"""


def other_answers(folder: Path) -> dict[str, str]:
    """The environment of a volunteer that answers units of trials with other figures than it found."""
    (folder / "cheat").mkdir()
    (folder / "cheat" / "sitecustomize.py").write_text(_OTHER_ANSWERS)
    return {"PYTHONPATH": f"{folder / 'cheat'}:{ROOT}"}
