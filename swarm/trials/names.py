"""What suites are called, and how they are spread: light, for the command line."""

from __future__ import annotations

from typing import Literal, get_args

EVALUATE, REDTEAM = "evaluate", "redteam"
HELDOUT = "heldout"  # the run's own held-out samples
GARAGE = "garage"  # the project's own probes
MEMORISED = "memorised"  # passages of what the model was trained on
SPREAD = {EVALUATE: HELDOUT, REDTEAM: GARAGE}  # what volunteers compute: neither fetches nor runs anything foreign
TOLERANCE = {EVALUATE: 0.01, REDTEAM: 0.125}  # of figures; of texts
UNIT_ITEMS = {EVALUATE: 64, REDTEAM: 8}
UNIT_SECONDS = 1800.0

# Of findings: how bad, from the least to the worst, and how it is with them.
Severity = Literal["low", "medium", "high", "critical"]
FindingState = Literal["open", "mitigated", "fixed", "disputed"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
STATES: tuple[FindingState, ...] = get_args(FindingState)
