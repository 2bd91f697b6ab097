"""What the example needs when nothing can be downloaded: a tiny base, sentence pairs, and a spec of their size.

python runs/garage-legal-en-de/rehearse.py FOLDER [FINGERPRINT …]

FOLDER/pairs.jsonl: 600 short sentences in English and German, put together from the parts below. FOLDER/base: a Llama
of 115 thousand parameters that has read a few of the sentences, with a tokenizer of its own. FOLDER/run.toml: the
example's spec, made for these; the fingerprints are of the keys that sign the release. The same every time.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from transformers.utils import logging

from swarm.runspec import RunSpec, load
from tests.tiny_base import make_base

WHO = {
    "The court": "Das Gericht",
    "The committee": "Der Ausschuss",
    "The council": "Der Rat",
    "The authority": "Die Behörde",
    "The parliament": "Das Parlament",
    "The commission": "Die Kommission",
}
DOES = {
    "examines": "prüft",
    "approves": "billigt",
    "publishes": "veröffentlicht",
    "amends": "ändert",
    "adopts": "verabschiedet",
    "postpones": "verschiebt",
}
WHAT = {
    "the complaint": "die Beschwerde",
    "the motion": "den Antrag",
    "the directive": "die Richtlinie",
    "the report": "den Bericht",
    "the contract": "den Vertrag",
    "the proposal": "den Vorschlag",
    "the regulation": "die Verordnung",
    "the opinion": "die Stellungnahme",
    "the budget": "den Haushalt",
}
WHEN = {
    "today": "heute",
    "tomorrow": "morgen",
    "on Monday": "am Montag",
    "next week": "nächste Woche",
    "without debate": "ohne Aussprache",
}
PAIRS, STEPS = 600, 120


def pairs() -> list[dict[str, str]]:
    """So many of all sentences that can be made of the parts, drawn once."""
    every = [
        {"en": f"{who} {does} {what} {when}.", "de": f"{WHO[who]} {DOES[does]} {WHAT[what]} {WHEN[when]}."}
        for who, does, what, when in product(WHO, DOES, WHAT, WHEN)
    ]
    return random.Random(0).sample(every, PAIRS)


def rehearsal(signers: list[str]) -> RunSpec:
    """The example's spec in small: it ends within a minute on two cores."""
    spec = load(Path(__file__).with_name("run.toml"))
    smaller: dict[str, dict[str, Any]] = {
        "lora": {"rank": 8, "alpha": 16.0},
        "data": {"sequence_length": 64},
        "training": {
            "rounds": 24,
            "target_batch_size": 48,
            "micro_batch_size": 4,
            "learning_rate": 1e-2,
            "warmup_samples": 96,
        },
        "exchange": {"grace_seconds": 5.0, "timeout_seconds": 30.0},
        "checkpoint": {"every_rounds": 12},
        "evaluation": {"every_rounds": 12},
        "release": {"signers": signers, "signatures": max(1, len(signers)), "evaluations": ["heldout:loss <= 3.5"]},
    }
    return spec.model_copy(
        update={name: getattr(spec, name).model_copy(update=values) for name, values in smaller.items()}
    )


def main() -> None:
    """Write all three."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("signers", nargs="*")
    options = parser.parse_args()
    logging.disable_progress_bar()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    made = pairs()
    lines = [json.dumps(pair, ensure_ascii=False) for pair in made]
    (folder / "pairs.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "run.toml").write_text(rehearsal(options.signers).to_toml(), encoding="utf-8")
    make_base(folder / "base", [pair[language] for pair in made[: PAIRS // 10] for language in ("en", "de")], STEPS)


if __name__ == "__main__":
    main()
