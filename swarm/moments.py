"""Named moments at which a test may kill or freeze the process that reaches them, or damage what it holds; without a
plan nothing happens.

The plan is a file that SWARM_TEST_FAULTS names: {"at": "exchange", "do": "kill"}, and perhaps the round, {"round": 5}.
Whoever carries it out removes it first, so it happens once. "nan" and "flip" (a bit) are carried out by the caller.
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


def reach(moment: Moment, round_: int = 0) -> str:
    """This process is about to sync, train, …: as the names say. Which damage it shall do then; mostly none."""
    return _carry_out(Path(_PLAN), moment, round_) if _PLAN else ""


def _carry_out(plan: Path, moment: Moment, round_: int) -> str:
    with suppress(OSError, ValueError, KeyError):
        wanted = json.loads(plan.read_text())
        if (wanted["at"], wanted.get("round", round_)) == (moment, round_):
            plan.unlink()
            if wanted["do"] not in _DO:
                return str(wanted["do"])
            os.kill(os.getpid(), _DO[wanted["do"]])
    return ""
