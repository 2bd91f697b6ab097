"""The engine of llama.cpp: GGUF files, also quantised ones."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from peer.serving.engine import Sampling
from swarm import extras
from swarm.errors import ModelError

_PLAIN = {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}  # what llama-cpp-python would do beside what is asked


class LlamaCpp:
    """A GGUF file. Its vocabulary is the bundle's tokenizer's, so prompts come as tokens here, too."""

    def __init__(self, model: Any, ends: frozenset[int], context: int) -> None:
        self.name = "llama.cpp"
        self.context = context
        self._model = model
        self._ends = ends

    @classmethod
    def load(cls, path: Path, ends: frozenset[int], most: int) -> LlamaCpp:
        """With `most` tokens of context, for which memory is taken at once, or as many as it was trained for if those
        are fewer. Raises ModelError, UsageError.
        """
        extras.require("llama", "Running a GGUF file", "llama_cpp")
        from llama_cpp import Llama

        try:
            model = Llama(str(path), n_ctx=most, verbose=False)
            trained = int(model.metadata[f"{model.metadata['general.architecture']}.context_length"])
            return cls(model, ends, min(trained, most))
        except (ValueError, RuntimeError, KeyError) as error:
            raise ModelError(f"llama.cpp cannot load {path.name}: {error}.", "Get the bundle again.") from error

    def tokens(self, prompt: Sequence[int], sampling: Sampling, personality: str) -> Generator[int, None, None]:
        """See `Engine`; bundles with personalities are not run here."""
        if personality:
            raise ModelError("llama.cpp switches no personalities.", "Take --device cpu or cuda.")
        self._model.set_seed(-1 if sampling.seed is None else sampling.seed)
        drawn = self._model.generate(
            list(prompt), temp=sampling.temperature, top_p=sampling.top_p, reset=True, **_PLAIN
        )
        for _ in range(sampling.tokens):
            if (token := next(drawn)) in self._ends:
                return
            yield int(token)

    def close(self) -> None:
        """See `Engine`."""
        self._model.close()
