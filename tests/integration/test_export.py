"""`swarm export --gguf` of a run, as a maintainer calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf import GGUFReader

from tests.swarm_run import swarm_run

pytestmark = [pytest.mark.processes, pytest.mark.long]


def test_a_run_is_exported_as_gguf_with_a_modelfile(tmp_path: Path) -> None:
    with swarm_run(tmp_path) as run:
        run.launch()
        out = tmp_path / "out"
        exported = run.command("export", run.invite, "--output", str(out), "--gguf", "q8_0")
        assert exported.finish(90) == 0, exported.stderr
    read = GGUFReader(out / "gguf" / "test-q8_0.gguf")
    assert read.fields["tokenizer.ggml.tokens"].contents()[0] == "<|endoftext|>"
    assert len(read.tensors) == 11  # tied: the output has the embedding's weights
    assert "FROM ./gguf/test-q8_0.gguf" in (out / "Modelfile").read_text()
    assert not (out / "export.log").exists()
