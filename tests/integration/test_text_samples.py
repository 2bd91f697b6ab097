"""A real swarm whose model goes on from the prompts of its run spec, round by round."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.swarm_run import swarm_run

PROMPTS = """
[evaluation]
every_rounds = 2
prompts = ["The ", "A list"]
sample_tokens = 12
"""


@pytest.mark.processes
@pytest.mark.timeout(120)
def test_what_the_model_writes_reaches_whoever_asks(tmp_path: Path) -> None:
    with swarm_run(tmp_path, rounds=4, batch=16) as run:
        run.spec.write_text(run.spec.read_text() + PROMPTS)
        run.launch()
        peers = [run.join(name) for name in ("one", "two")]
        for peer in peers:
            assert peer.finish(90) == 0, peer.stderr
        with run.client() as client:
            status = client.status()
    assert [found.round for found in status.evaluations] == [0, 2, 4]
    assert [[sample.prompt for sample in found.samples] for found in status.evaluations] == [[], [], ["The ", "A list"]]
    assert all(sample.text for sample in status.evaluations[-1].samples)
    assert status.evaluations[-1].evaluated_by in {member.member_id for member in status.members}
