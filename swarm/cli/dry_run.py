"""`swarm launch --dry-run`: how a run would go, without starting anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from swarm.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from swarm.cli.rehearsal.plan import Swarm


def dry_run(spec_path: Path, data_dir: Path | None, supposed: Mapping[str, Any], as_json: bool) -> None:
    """Print it. `supposed` are the options' values, None for those that were not given. Raises what looking at the spec
    and the machine does, UsageError for what cannot be supposed.
    """

    from swarm import paths, runspec
    from swarm.cli.output import console, echo_json
    from swarm.cli.planning import Place, plan_of
    from swarm.cli.rehearsal.plan import Swarm
    from swarm.cli.rehearsal.rehearse import rehearse
    from swarm.cli.rehearsal.show import screen

    given = {name: value for name, value in supposed.items() if value is not None}
    rate = given.pop("speed", None)
    swarm = Swarm(**given)
    _require_sense(swarm)
    folder = data_dir or paths.run_dir(runspec.load(spec_path).run.name)
    out = console(err=True)
    with out.status("looking at the model and this machine") as status:
        plan = plan_of(Place(spec_path, folder), swarm, rate)
        status.update(f"rehearsing with {swarm.peers} peers")
        found = rehearse(plan)
    if as_json:
        assumed = {"swarm": vars(plan.swarm), "speed": vars(plan.speed), "prepared": plan.prepared}
        echo_json({"run": plan.spec.run.name, "assumed": assumed, **found.as_json()})
    else:
        console().print(screen(plan, found))


def _require_sense(swarm: Swarm) -> None:
    if swarm.attackers > swarm.peers:
        what = f"{swarm.attackers} attackers are more than the {swarm.peers} peers that they are some of."
        raise UsageError(what, "Give fewer attackers, or more peers.")


def refuse(supposed: Mapping[str, Any], as_json: bool) -> None:
    """Raises UsageError where options of a rehearsal were given without one."""
    given = [f"--{name}" for name, value in supposed.items() if value is not None]
    if named := [*given, *["--json"] * as_json]:
        what = f"{', '.join(named)}: only a rehearsal has {'these options' if len(named) > 1 else 'this option'}."
        raise UsageError(what, "Add --dry-run, or leave it out: volunteers come with the invite.")
