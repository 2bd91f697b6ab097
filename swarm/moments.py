"""Named moments at which a test may kill or freeze the process that reaches them; without a plan nothing happens.

The plan is a file that SWARM_TEST_FAULTS names: {"at": "exchange", "do": "kill"}. Whoever carries it out removes it
first, so it happens once.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Literal

Moment = Literal["sync", "train", "ready", "exchange", "commit", "apply", "report", "checkpoint", "write", "written"]

_PLAN = os.environ.get("SWARM_TEST_FAULTS", "")
_DO = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}


def reach(moment: Moment) -> None:
    """This process is about to sync, train, …: as the names say."""
    if _PLAN:
        _carry_out(Path(_PLAN), moment)


def _carry_out(plan: Path, moment: Moment) -> None:
    with suppress(OSError, ValueError, KeyError):
        wanted = json.loads(plan.read_text())
        if wanted["at"] == moment:
            plan.unlink()
            os.kill(os.getpid(), _DO[wanted["do"]])
