"""A real swarm whose model goes on from the prompts of its run spec, round by round."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.document import to_html
from swarm.modelcard import Release
from swarm.report import Facts, compose
from swarm.runspec import load
from tests.swarm_run import swarm_run

PROMPTS = """
[evaluation]
every_rounds = 2
prompts = ["The ", "A list"]
sample_tokens = 12
"""


@pytest.mark.processes
@pytest.mark.timeout(120)
@pytest.mark.long
def test_what_the_model_writes_reaches_whoever_asks(tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=4, batch=16) as run:
        run.spec.write_text(run.spec.read_text() + PROMPTS)
        run.launch()
        peers = [run.join(name) for name in ("one", "two")]
        for peer in peers:
            assert peer.finish(90) == 0, peer.stderr
        with run.client() as client:
            status, run_message, history = client.status(), client.get_run(), client.history()
            facts = Facts(
                Release(load(run.spec), run_message, status, status.latest, False), client.checkpoints(), history
            )
    assert [found.round for found in status.evaluations] == [0, 2, 4]
    assert [[sample.prompt for sample in found.samples] for found in status.evaluations] == [[], [], ["The ", "A list"]]
    assert all(sample.text for sample in status.evaluations[-1].samples)
    assert [(found.round, len(found.samples)) for found in history.evaluations] == [(0, 2), (2, 2), (4, 2)]
    assert [(span.first, span.rounds, span.has_loss) for span in history.spans] == [(n, 1, True) for n in range(4)]
    assert sum(one.samples for one in history.totals if one.state == "counted") == status.global_samples
    assert (history.decisions["MemberJoined"], history.decisions["CoordinatorBack"]) == (2, 1)
    assert to_html(compose(facts)).count("<figure class=") == 6  # each text
    assert status.evaluations[-1].evaluated_by in {member.member_id for member in status.members}
