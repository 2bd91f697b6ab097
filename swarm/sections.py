"""The sections of a run spec: what each may hold is written here once, for the checks, the JSON schema and the
documentation's test.
"""

from __future__ import annotations

import re
import string
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from swarm import texts

T = TypeVar("T")
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_PRESET = re.compile(r"preset:[a-z0-9][a-z0-9-]*")
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WEB = re.compile(r"https?://[^\s/?#@]+/?")
_REVISION = re.compile(r"[0-9a-f]{40}")
_PAIR = re.compile(r"([A-Za-z_]\w*)(<?>)([A-Za-z_]\w*)")
BUILTIN_TEXT = "builtin:pydoc-topics"
_SUFFIXES = (".txt", ".jsonl", ".parquet")


class Section(BaseModel):
    """Strict (a text is never taken for a number), frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)


class Run(Section):
    """What the run is called and how volunteers see it."""

    name: str = Field(description="a slug: names the run in invites and folders")
    title: str = Field(default="", description="one line for people")
    description: str = Field(default="", description="what is trained, and what for")
    maintainer: str = Field(default="", description="who runs it, and where they can be reached; volunteers see it")
    page: str = Field(default="", description="where the run's page is, as volunteers reach it: https://…")
    license: str = Field(default="", description="of the resulting model, as an SPDX identifier")
    seed: int = Field(default=0, ge=0, lt=2**32, description="of initial weights and sample order")

    @field_validator("name")
    @classmethod
    def _slug(cls, name: str) -> str:
        return _require(name, bool(_SLUG.fullmatch(name)), "right would be a-z, 0-9 and -, at most 63, such as my-run")

    @field_validator("page")
    @classmethod
    def _web_address(cls, page: str) -> str:
        valid = not page or bool(_WEB.fullmatch(page))
        return _require(page, valid, "right would be an address without a path, such as https://run.example.org")


class Model(Section):
    """Which model is trained."""

    source: str = Field(description='"preset:tiny-llama", a folder ("./folder"), or a hub name ("org/name")')
    revision: str = Field(default="", description="the commit (40 hex digits) of a hub model")
    tokenizer: str = Field(description='"bytes", "bpe:N" (trained on the data, N entries), or the model\'s: "model"')
    method: Literal["full", "lora", "qlora"] = Field(
        default="full", description="full: all weights are trained; lora, qlora: adapters on a frozen base"
    )
    quantization: Literal["nf4", "int8"] = Field(default="nf4", description="of the frozen base, with qlora")

    @field_validator("source")
    @classmethod
    def _known_source(cls, source: str) -> str:
        valid = is_folder(source) or _PRESET.fullmatch(source) or _HUB.fullmatch(source)
        return _require(source, bool(valid), 'right would be "preset:tiny-llama", "./folder" or "org/name"')

    @field_validator("revision")
    @classmethod
    def _pinned(cls, revision: str, info: ValidationInfo) -> str:
        source = info.data.get("source", "")
        if not source or is_folder(source) or source.startswith("preset:"):
            return _require(revision, not (source and revision), "only a hub model has a revision; remove it")
        valid = bool(_REVISION.fullmatch(revision))
        return _require(revision, valid, "a hub model needs the commit to use, 40 hex digits, so that it never changes")

    @field_validator("tokenizer")
    @classmethod
    def _known_tokenizer(cls, tokenizer: str, info: ValidationInfo) -> str:
        preset = info.data.get("source", "").startswith("preset:")
        trained = re.fullmatch(r"bpe:(\d{3,6})", tokenizer)
        own = tokenizer == "bytes" or bool(trained and int(trained[1]) > 256)
        right = '"bytes" or "bpe:1024" (more than 256 entries)'
        if preset:
            return _require(tokenizer, own, f"a preset comes without a tokenizer: right would be {right}")
        return _require(tokenizer, own or tokenizer == "model", f'right would be "model", {right}')

    @field_validator("method")
    @classmethod
    def _has_a_base(cls, method: str, info: ValidationInfo) -> str:
        preset = info.data.get("source", "").startswith("preset:")
        hint = "a preset has no trained weights to adapt: right would be full, or a folder or hub model as source"
        return _require(method, method == "full" or not preset, hint)

    @property
    def adapts(self) -> bool:
        """Whether a frozen base is there and only adapters are trained."""
        return self.method != "full"


class Lora(Section):
    """The adapters of lora and qlora (Hu et al. 2021, arXiv 2106.09685)."""

    rank: int = Field(default=16, ge=1, le=1024, description="inner dimension of an adapter")
    alpha: Positive = Field(default=32.0, description="an adapter's output is scaled by alpha / rank")
    dropout: Fraction = Field(default=0.0, description="part of an adapter's inputs that is dropped while training")
    targets: str = Field(default="all-linear", description='"all-linear", or names such as "q_proj,v_proj"')

    @field_validator("targets")
    @classmethod
    def _names(cls, targets: str) -> str:
        valid = all(re.fullmatch(r"[A-Za-z_][\w.-]*", name) for name in targets.split(","))
        return _require(targets, valid, 'right would be "all-linear" or "q_proj,v_proj"')


class Data(Section):
    """What the model is trained on."""

    source: str = Field(
        description='"builtin:pydoc-topics", a path or pattern of .txt, .jsonl or .parquet files '
        '(relative to the spec file), or "hf:org/name"'
    )
    format: Literal["text", "chat", "instruction", "translation"] = Field(
        default="text", description="of a record; but for text, only answers are learned, not questions"
    )
    field: str = Field(
        default="text", min_length=1, description="which field of a record is the text, or the list of chat messages"
    )
    template: str = Field(default="", description='instead of field: a pattern over fields, such as "{en}\\n{de}"')
    pair: str = Field(default="", description='translation: the fields, "en>de", or "en<>de" for both directions')
    packing: Literal["auto", "stream", "whole"] = Field(
        default="auto",
        description="stream: texts run on from sample to sample; whole: a sample holds whole records that do not see "
        "each other; auto: stream for text",
    )
    license: str = Field(default="", description="of the data, for the model card")
    shards: str = Field(
        default="",
        description='"hf:org/name": a data set of the hub that holds the prepared shards; peers read those that their '
        "leases need from there, and from the swarm when it does not give them",
    )
    split: str = Field(default="train", min_length=1, description="which split of a hub data set")
    sequence_length: int = Field(default=128, ge=8, le=1 << 20, description="tokens in a sample")
    heldout_fraction: float = Field(default=0.05, gt=0, le=0.5, description="part of the documents kept for evaluation")

    @field_validator("source")
    @classmethod
    def _known_source(cls, source: str) -> str:
        if source.startswith("builtin:"):
            return _require(source, source == BUILTIN_TEXT, f'the built-in text is "{BUILTIN_TEXT}"')
        if source.startswith("hf:"):
            return _require(source, bool(_HUB.fullmatch(source[3:])), 'right would be "hf:org/name"')
        valid = source.endswith(_SUFFIXES) or is_folder(source)
        return _require(
            source, valid, f'right would be {", ".join(_SUFFIXES)} files, "{BUILTIN_TEXT}" or "hf:org/name"'
        )

    @field_validator("shards")
    @classmethod
    def _on_the_hub(cls, shards: str) -> str:
        valid = not shards or (shards.startswith("hf:") and _HUB.fullmatch(shards[3:]))
        return _require(shards, bool(valid), 'right would be "hf:org/name"')

    @field_validator("format")
    @classmethod
    def _has_records(cls, form: str, info: ValidationInfo) -> str:
        source = info.data.get("source", "")
        hint = f'"{source}" is plain text: right would be "text", or .jsonl or .parquet files as data.source'
        return _require(form, form == "text" or not source.endswith((".txt", BUILTIN_TEXT)), hint)

    @field_validator("template")
    @classmethod
    def _plain_fields(cls, template: str, info: ValidationInfo) -> str:
        if not template:
            return template
        alone = info.data.get("field", "text") == "text"
        _require(template, alone, "data.field and data.template exclude each other: keep one")
        _require(template, info.data.get("format", "text") == "text", 'a template is for data.format = "text" only')
        return _require(template, _plain_template(template), 'right would be names in braces, such as "{en}\\n{de}"')

    @field_validator("pair")
    @classmethod
    def _two_fields(cls, pair: str, info: ValidationInfo) -> str:
        if info.data.get("format", "text") != "translation":
            return _require(pair, not pair, 'a pair is for data.format = "translation" only')
        return _require(pair, bool(_PAIR.fullmatch(pair)), 'right would be "en>de", or "en<>de" for both directions')

    @field_validator("packing")
    @classmethod
    def _keeps_records_apart(cls, packing: str, info: ValidationInfo) -> str:
        form = info.data.get("format", "text")
        hint = f'data.format = "{form}" has prompts that belong to their answers: right would be "whole" or "auto"'
        return _require(packing, packing != "stream" or form == "text", hint)

    @property
    def whole(self) -> bool:
        """Whether a sample holds whole records that do not see each other."""
        return self.packing == "whole" or (self.packing == "auto" and self.format != "text")


class Training(Section):
    """How updates are made."""

    mode: Literal["gradient", "local"] = Field(
        default="gradient",
        description="gradient: a round is one optimizer step of the whole swarm; local: each peer takes many steps of "
        "its own between two exchanges, see [local]",
    )
    rounds: Count = Field(description="when the run is finished")
    target_batch_size: Count = Field(
        description="samples of the whole swarm in one round; in local mode as many as are expected"
    )
    micro_batch_size: Count = Field(
        default=8, description="the most samples that a peer computes at once; each finds its own"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="of the computation; auto: what each device does best; θ is always fp32"
    )
    gradient_checkpointing: bool = Field(default=False, description="less memory for a third more computation")
    cpu_peers: bool = Field(default=True, description="whether machines without a GPU may take part")
    learning_rate: Positive = Field(default=3e-3, description="at its peak")
    warmup_samples: int = Field(default=0, ge=0, description="samples of the swarm until the peak is reached")
    schedule: Literal["cosine", "constant", "linear"] = Field(default="cosine", description="after the warm-up")
    min_lr_ratio: float = Field(default=0.1, ge=0, le=1, description="learning rate at the end, as a part of the peak")
    weight_decay: float = Field(default=0.1, ge=0, description="decoupled, on matrices only")
    beta1: Fraction = Field(default=0.9, description="AdamW")
    beta2: Fraction = Field(default=0.95, description="AdamW")
    eps: Positive = Field(default=1e-8, description="AdamW")
    clip_norm: float = Field(default=1.0, ge=0, description="largest norm of the averaged gradient; 0 = no limit")

    @field_validator("micro_batch_size")
    @classmethod
    def _fits_target(cls, size: int, info: ValidationInfo) -> int:
        target = info.data.get("target_batch_size", size)
        return _require(size, size <= target, f"right would be training.target_batch_size ({target}) or less")

    @field_validator("warmup_samples")
    @classmethod
    def _ends_before_run(cls, samples: int, info: ValidationInfo) -> int:
        if not {"rounds", "target_batch_size"} <= info.data.keys():
            return samples
        total = info.data["rounds"] * info.data["target_batch_size"]
        return _require(samples, samples < total, f"right would be less than the run's samples ({total})")


class Local(Section):
    """Local mode (DiLoCo, Douillard et al. 2023, arXiv 2311.08105): what a peer does between two exchanges."""

    steps: Count = Field(default=30, description="inner optimizer steps of a peer in a round, at most")
    batch_size: Count = Field(default=8, description="samples of one inner step")
    window_seconds: Positive = Field(default=600.0, description="a round ends at the latest after so long")
    overlap: bool = Field(
        default=False,
        description="train on while updates travel: no time is lost, but those steps' gradients are one round old",
    )
    codec: Literal["sparse", "int8", "fp16", "none"] = Field(
        default="sparse",
        description="of an update; sparse: the largest values, 2 bits each; int8, fp16: all of them; none: fp64",
    )
    kept: int = Field(default=64, ge=1, le=4096, description="sparse: values that travel of each block of 4096")
    error_feedback: Fraction = Field(
        default=0.95, description="sparse: part of what did not travel that is added to the next update"
    )
    outer_learning_rate: Positive = Field(default=1.0, description="how far θ follows the combined update")
    outer_momentum: Fraction = Field(default=0.0, description="Nesterov's, of the combined updates")
    clip: float = Field(
        default=1.0, ge=0, description="largest norm of a tensor's update, as a multiple of the peers' median; 0 = none"
    )

    @field_validator("outer_momentum")
    @classmethod
    def _not_with_feedback(cls, momentum: float, info: ValidationInfo) -> float:
        sparse = info.data.get("codec") == "sparse"
        hint = 'outer momentum diverges together with sparse updates: right would be 0, or local.codec = "int8"'
        return _require(momentum, momentum == 0 or not sparse, hint)

    @property
    def feedback(self) -> float:
        """The part of what did not travel that is kept; dense updates leave nothing behind."""
        return self.error_feedback if self.codec == "sparse" else 0.0


class Exchange(Section):
    """How updates travel."""

    aggregation: Literal["mean", "centered_clip"] = Field(
        default="mean",
        description="gradient mode; mean: exactly that of all samples; centered_clip: close to it, and hardly moved by "
        "members that lie",
    )
    compression: Literal["none", "fp16", "8bit"] = Field(default="none", description="of averaged gradients")
    min_contributors: Count = Field(
        default=1,
        description="how many peers a round needs; among 2n + 1 of them n that lie are not the majority",
    )
    grace_seconds: Positive = Field(default=5.0, description="how long a round waits for members that are not ready")
    timeout_seconds: Positive = Field(default=60.0, description="after which an exchange has failed")

    @field_validator("timeout_seconds")
    @classmethod
    def _after_grace(cls, timeout: float, info: ValidationInfo) -> float:
        grace = info.data.get("grace_seconds", 0.0)
        return _require(timeout, timeout > grace, f"right would be more than exchange.grace_seconds ({grace})")


class Trust(Section):
    """How far newcomers are trusted. Who came with a validator's or a maintainer's invite, or whom `swarm trust` names,
    is trusted at once.
    """

    probation_checks: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="spot checks in a row that a newcomer must pass before its updates weigh anything; 0: none. "
        "For public invites take 5 or more, and somebody with a validator's invite who checks",
    )


class Checkpoint(Section):
    """What is kept."""

    every_rounds: Count = Field(default=20, description="rounds between two checkpoints")
    keep: Count = Field(default=3, description="how many checkpoints the coordinator keeps, besides the first")


class Evaluation(Section):
    """What is measured on the agreed θ, by one elected peer."""

    every_rounds: Count = Field(default=20, description="rounds between two evaluations on the held-out samples")
    metrics: str = Field(default="", description="metrics of your own, by the names of their entry points: a,b")
    prompts: list[str] = Field(
        default=[], max_length=texts.MOST, description="what the model goes on from at each evaluation, for people"
    )
    sample_tokens: int = Field(default=48, ge=1, le=256, description="tokens of such a text, at most")
    sample_temperature: float = Field(default=0.8, ge=0, le=2, description="of the drawing; 0: always the likeliest")
    sample_seconds: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="what the texts of one evaluation may take together, in the order of the prompts",
    )

    @field_validator("metrics")
    @classmethod
    def _plain_names(cls, metrics: str) -> str:
        valid = not metrics or all(re.fullmatch(r"[A-Za-z_][\w.-]*", name) for name in metrics.split(","))
        return _require(metrics, valid, 'right would be names such as "bleu,exact-match"')

    @field_validator("prompts")
    @classmethod
    def _short(cls, prompts: list[str]) -> list[str]:
        valid = all(prompt.strip() and texts.fits(prompt, texts.PROMPT_BYTES) for prompt in prompts)
        hint = f"right would be texts of 1 to {texts.PROMPT_BYTES} bytes each, none of them blank"
        return _require(prompts, valid, hint)


class Tracking(Section):
    """Who else keeps the run's curves: told by the coordinator, so that no volunteer needs an account there."""

    trackers: list[Literal["tensorboard", "wandb", "trackio", "mlflow"]] = Field(
        default=[], description='any of "tensorboard", "wandb", "trackio", "mlflow"; installed as extras'
    )

    @field_validator("trackers")
    @classmethod
    def _each_once(cls, trackers: list[str]) -> list[str]:
        return _require(trackers, len(set(trackers)) == len(trackers), "right would be each of them once")


def is_folder(source: str) -> bool:
    """Whether a model source means a folder on this machine."""
    return source.startswith(("./", "../", "/", "~/"))


def _require(value: T, valid: bool, hint: str) -> T:
    if not valid:
        raise ValueError(hint)
    return value


def _plain_template(template: str) -> bool:
    """Whether all placeholders are plain names: no positions, attributes, conversions or formats."""
    try:
        parts = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError:
        return False
    plain = all(name and not set(name) & set(".[]") and not spec and not conversion for name, spec, conversion in parts)
    return bool(parts) and plain
