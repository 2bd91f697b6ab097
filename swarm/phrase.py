"""A volunteer's key as 24 words (BIP-39): its 32 secret bytes and a checksum, to be written down on paper."""

from __future__ import annotations

from mnemonic import Mnemonic

from swarm.errors import UsageError
from swarm.identity import Identity

_WORDS = 24
_REMEDY = "Compare with what you wrote down; order matters, capitals do not."


def phrase_of(identity: Identity) -> str:
    """24 English words with spaces between them. Who has them has the identity."""
    return str(Mnemonic("english").to_mnemonic(identity.seed))


def identity_of(phrase: str) -> Identity:
    """The identity that the words stand for. Raises UsageError that says what is wrong with them."""
    words = phrase.lower().split()
    known = Mnemonic("english")
    if len(words) != _WORDS:
        raise UsageError(f"A backup has {_WORDS} words; these are {len(words)}.", _REMEDY)
    if wrong := [number for number, word in enumerate(words, 1) if word not in known.wordlist]:
        raise UsageError(f"These are no words of a backup: number {', '.join(map(str, wrong))}.", _REMEDY)
    try:
        return Identity.from_seed(bytes(known.to_entropy(words)))
    except ValueError as error:
        raise UsageError("The words do not belong together: their checksum is wrong.", _REMEDY) from error
