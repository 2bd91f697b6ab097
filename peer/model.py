"""The model: built once from a run spec, loaded by every peer from its configuration, trained, evaluated, sampled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from peer import hub
from peer.data import Samples, read_samples
from swarm.errors import ModelError
from swarm.runspec import RunSpec
from swarm.sections import is_folder

_CPU = torch.device("cpu")
_NOT_LEARNED = -100  # as a target; no token has this id

# Llama models by the name after "preset:"; the vocabulary comes from the tokenizer.
PRESETS: dict[str, dict[str, float]] = {
    # What learned most per second on 2 CPU cores among models of 1 to 2 million parameters (bpe:1024, 128 tokens,
    # AdamW at 4e-3, batch 32, held-out loss): one layer of 256 reached 4.1 in 34 s, three of 192 4.6 in 42 s, five of
    # 128 5.0 in 38 s. With transformers' own initializer_range of 0.02 each ends 0.2 to 0.8 higher.
    "tiny-llama": {
        "hidden_size": 256,
        "intermediate_size": 704,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "initializer_range": 0.05,
    },
    "llama-10m": {
        "hidden_size": 320,
        "intermediate_size": 896,
        "num_hidden_layers": 8,
        "num_attention_heads": 5,
    },
    "llama-100m": {
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 14,
        "num_attention_heads": 12,
    },
}


def initial_model(spec: RunSpec, tokenizer_folder: Path, base: Path) -> nn.Module:
    """The run's model at round 0 in fp32; the same on every machine with this torch.

    A preset, and a folder without weights, is initialised from run.seed; other folders and hub models bring their
    weights (safetensors only, never code). Folders are relative to `base`. Raises ModelError.
    """
    tokenizer = load_tokenizer(tokenizer_folder)
    with seeded(spec.run.seed):
        model = _preset(spec, tokenizer) if spec.model.source.startswith("preset:") else _existing(spec, base)
    require_room(spec, model, len(tokenizer))
    return model


def load_model(folder: Path, attention: str = "sdpa") -> nn.Module:
    """The model that `folder` describes, fp32, in training mode. Its weights mean nothing: they come from a state
    file. Raises ModelError."""
    with seeded(0):
        config = built(
            folder, lambda: AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        )
        return _from_config(folder, config, attention)


def load_weights(folder: Path, dtype: torch.dtype | str) -> Any:
    """The model in `folder` with its weights, in evaluation mode: safetensors only, never code. Raises ModelError."""
    return built(
        folder,
        lambda: AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False
        ),
    )


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in `folder`. Raises ModelError."""
    return built(folder, lambda: AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False))


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """What is trained, by name and sorted by it; tied weights once."""
    return {name: p for name, p in sorted(model.named_parameters()) if p.requires_grad}


def loss_sum(model: nn.Module, samples: Samples, targets_per_sample: float) -> Tensor:
    """The summed cross-entropy of the samples' learned tokens over the run's mean number of them in a sample; scalar,
    nats.

    A sum, so that the gradients of micro-batches and peers add up.
    """
    return _cross_entropy(model, samples)[0] / targets_per_sample


@torch.no_grad()
def evaluate(model: nn.Module, heldout: Path, batch: int) -> float:
    """Mean loss per learned token of the held-out file, in nats, `batch` samples at a time."""
    device = next(model.parameters()).device
    with _evaluating(model):
        parts = [_cross_entropy(model, part.to(device)) for part in read_samples(heldout).split(batch)]
    return sum(float(loss) for loss, _ in parts) / sum(int((targets != _NOT_LEARNED).sum()) for _, targets in parts)


@torch.no_grad()
def losses(model: nn.Module, samples: Samples) -> Iterator[tuple[float, int]]:
    """Of each sample its summed loss, in nats, and its learned tokens. One at a time, so that a sample's loss does not
    depend on those beside it, down to the last bit.
    """
    device = next(model.parameters()).device
    with _evaluating(model):
        for one in samples.split(1):
            loss, targets = _cross_entropy(model, one.to(device))
            yield float(loss), int((targets != _NOT_LEARNED).sum())


def _cross_entropy(model: nn.Module, samples: Samples) -> tuple[Tensor, Tensor]:
    """The summed cross-entropy of the learned tokens, in nats, and the targets [n, sequence_length], those that are not
    learned as _NOT_LEARNED. They are not counted here: in training that would make the processor wait for the GPU.

    Positions restart in every document, and no attention mask is given: that is how transformers recognises packed
    documents, which then do not see each other (transformers.masking_utils.find_packed_sequence_indices).
    """
    inputs, targets = samples.tokens[:, :-1], samples.tokens[:, 1:]
    positions = None
    if samples.marks is not None:
        document = samples.marks.abs()
        learned = (samples.marks[:, 1:] > 0) & (document[:, 1:] == document[:, :-1])
        targets = targets.masked_fill(~learned, _NOT_LEARNED)
        positions = _positions(document[:, :-1])
    logits = model(input_ids=inputs, position_ids=positions, use_cache=False).logits.float()
    loss = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=_NOT_LEARNED)
    return loss, targets


def _positions(document: Tensor) -> Tensor:
    """0, 1, 2, … from the start of each document; `document` [n, length] names the one that a token belongs to."""
    index = torch.arange(document.shape[1], device=document.device).expand_as(document)
    begins = torch.ones_like(document, dtype=torch.bool)
    begins[:, 1:] = document[:, 1:] != document[:, :-1]
    return index - torch.where(begins, index, 0).cummax(1).values


@dataclass(frozen=True)
class Drawing:
    """How a text is drawn: at most `tokens` tokens, from the 40 likeliest at `temperature`; 0 takes the likeliest.
    After `seconds` it ends, whatever it has.
    """

    tokens: int
    temperature: float = 0.8
    seconds: float | None = None

    def options(self) -> dict[str, Any]:
        """As transformers' `generate` knows them."""
        drawn = {"do_sample": True, "temperature": self.temperature, "top_k": 40}
        how = drawn if self.temperature else {"do_sample": False}
        return {"max_new_tokens": self.tokens, "max_time": self.seconds, **how}


def continued(model: nn.Module, tokenizer: Any, prompt: str, drawing: Drawing, seed: int) -> str:
    """How the model goes on from `prompt`."""
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"] if prompt else [[tokenizer.eos_token_id]]
    device = next(model.parameters()).device
    ids = torch.as_tensor(ids, device=device)
    generate: Callable[..., Tensor] = model.generate  # type: ignore[assignment]
    with seeded(seed, device), _evaluating(model):
        drawn = generate(
            ids,
            attention_mask=torch.ones_like(ids),
            pad_token_id=tokenizer.eos_token_id,
            **drawing.options(),
        )
    # Together, then without the prompt: what is between two tokens may depend on the first.
    given, whole = (str(tokenizer.decode(tokens, skip_special_tokens=True)) for tokens in (ids[0], drawn[0]))
    return whole.removeprefix(given).rstrip("\ufffd")


def model_location(spec: RunSpec, base: Path) -> tuple[Path | str, str | None]:
    """The model's folder and no revision, or its hub name and revision. Raises ModelError when it is not there."""
    source = spec.model.source
    if not is_folder(source):
        hub.require_model(source, spec.model.revision, ModelError)
        return source, spec.model.revision
    folder = base / Path(source).expanduser()
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"The model folder {folder} does not exist or holds no config.json.", "Check model.source in the run spec."
        )
    return folder, None


def base_folder(spec: RunSpec, base: Path) -> Path:
    """The folder of the frozen base, fetched from the hub if need be. Raises ModelError when it has no weights."""
    source, revision = model_location(spec, base)
    folder = source if isinstance(source, Path) else hub.snapshot(source, str(revision), ModelError)
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"The base {spec.model.source} has no weights in safetensors files, so there is nothing to adapt.",
            'Convert its weights to safetensors, or train all of it with model.method = "full".',
        )
    return folder


def require_room(spec: RunSpec, model: nn.Module, vocabulary: int) -> None:
    """Raise ModelError unless the model takes the run's tokens and samples."""
    config: Any = model.config
    rows = config.get_text_config().vocab_size
    if vocabulary > rows:
        raise ModelError(
            f"The tokenizer {spec.model.tokenizer} has {vocabulary} entries, but {spec.model.source} only {rows}.",
            'Choose a smaller tokenizer, or tokenizer = "model".',
        )
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    if positions and spec.data.sequence_length > positions:
        raise ModelError(
            f"data.sequence_length = {spec.data.sequence_length}, but {spec.model.source} takes {positions} tokens.",
            f"Set data.sequence_length to {positions} or less.",
        )


def built(source: object, build: Callable[[], Any]) -> Any:
    """What `build` loads from `source`. Raises ModelError for the errors that transformers has."""
    try:
        return build()
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        raise ModelError(
            f"The model or tokenizer {source} cannot be loaded: {_first_line(error)}",
            "It must be a causal language model that transformers knows, with safetensors weights and no own code.",
        ) from error


def _preset(spec: RunSpec, tokenizer: Any) -> nn.Module:
    return _from_config(spec.model.source, preset_config(spec, len(tokenizer), tokenizer.eos_token_id))


def preset_config(spec: RunSpec, words: int, end: int) -> LlamaConfig:
    """The configuration of a preset with a vocabulary of `words`, of which `end` ends a text. Raises ModelError."""
    name = spec.model.source.removeprefix("preset:")
    if name not in PRESETS:
        raise ModelError(f"There is no model preset {name!r}.", f"Known are {', '.join(PRESETS)}.")
    return LlamaConfig(
        **PRESETS[name],
        vocab_size=words,
        max_position_embeddings=max(512, spec.data.sequence_length),
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )


def _existing(spec: RunSpec, base: Path) -> nn.Module:
    source, revision = model_location(spec, base)
    config = built(source, lambda: AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False))
    if isinstance(source, Path) and not any(source.glob("*.safetensors")):
        return _from_config(source, config)
    model: nn.Module = built(
        source,
        lambda: AutoModelForCausalLM.from_pretrained(
            source,
            config=config,
            revision=revision,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
        ),
    )
    return model.train()


def _from_config(source: object, config: Any, attention: str = "sdpa") -> nn.Module:
    model: nn.Module = built(
        source,
        lambda: AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, attn_implementation=attention, trust_remote_code=False
        ),
    )
    return model.train()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


@contextmanager
def seeded(seed: int, device: torch.device = _CPU) -> Iterator[None]:
    """Draw from `seed` inside, on the CPU and on `device`, and leave the process's own random numbers as they were
    (but MPS's, which cannot be kept). No word to other GPUs: hivemind forks before CUDA is touched.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
