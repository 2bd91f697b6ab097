"""The report on documents that are much like others: near-duplicates.json in the run's folder."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from peer.blocks import Block
from peer.likeness import Likeness, Pair, likeness
from peer.packing import Split
from swarm.tensorfile import atomic_write

_MOST = 1000  # pairs in the report


def report(blocks: Sequence[Block], parts: Split, path: Path) -> dict[str, int]:
    """Write the report to `path`: what leaked first, at most 1000 pairs; the facts "near_duplicates" and "leaked".

    Raises OSError (disk).
    """
    signatures = np.concatenate([block.array("signatures") for block in blocks])
    found = likeness(signatures, np.sort(parts.train).tolist(), np.sort(parts.heldout).tolist())
    facts = {"near_duplicates": len(found.leaked) + len(found.repeated), "leaked": len(found.leaked)}
    with atomic_write(path) as file:
        content = {**facts, "pairs": _pairs(blocks, found)}
        file.write(json.dumps(content, indent=1, ensure_ascii=False).encode())
    return facts


def _pairs(blocks: Sequence[Block], found: Likeness) -> list[dict[str, Any]]:
    pairs: list[Pair] = [*found.leaked, *found.repeated][:_MOST]
    shown = _shown(blocks, {document for pair in pairs for document in (pair.document, pair.like)})
    return [
        {
            "similarity": round(pair.similarity, 2),
            "leaked": number < len(found.leaked),
            "document": shown[pair.document],
            "like": shown[pair.like],
        }
        for number, pair in enumerate(pairs)
    ]


def _shown(blocks: Sequence[Block], documents: set[int]) -> dict[int, dict[str, str]]:
    """Where each of `documents` comes from, and how it begins."""
    starts = list(accumulate((block.documents for block in blocks), initial=0))
    by_block: dict[int, list[int]] = {}
    for document in sorted(documents):
        by_block.setdefault(bisect_right(starts, document) - 1, []).append(document)
    found = {}
    for block, members in by_block.items():
        shown = blocks[block].shown()
        for document in members:
            origin, text = shown[document - starts[block]]
            found[document] = {"origin": origin, "text": text}
    return found
