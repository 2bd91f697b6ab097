"""What the example needs when nothing can be downloaded: a tiny base and sentence pairs, both made here.

python runs/garage-legal-en-de/rehearse.py FOLDER

FOLDER/pairs.jsonl: 600 short sentences in English and German, put together from the parts below. FOLDER/base: a Llama
of 150 thousand parameters that has read a few of the sentences, with a tokenizer of its own. The same every time.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

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


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    made = pairs()
    lines = [json.dumps(pair, ensure_ascii=False) for pair in made]
    (folder / "pairs.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    make_base(folder / "base", [pair[language] for pair in made[: PAIRS // 10] for language in ("en", "de")], STEPS)


if __name__ == "__main__":
    main()
