"""A long history as few points: rounds side by side become one span with their mean, least and most. Pure.

Spans are as wide as a power of two and begin at its multiples, as in a round-robin database (Oetiker 1999), so that a
span of many rounds is the same whether they came at once or one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coordinator.logbook import Round

MOST = 500  # points of a curve


@dataclass(frozen=True)
class Span:
    """Rounds `first` to `last`, of which `rounds` are known. `at`: when the last one ended; `loss`: the mean of the
    `losses` that were numbers, `low` and `high` their extremes; the rest are sums, `members` and `seconds` over rounds.
    """

    first: int
    last: int
    at: float
    rounds: int = 1
    losses: int = 0
    loss: float = 0.0
    low: float = 0.0
    high: float = 0.0
    samples: int = 0
    members: int = 0
    exchange_seconds: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0

    @classmethod
    def of(cls, found: Round) -> Span:
        """A single round."""
        loss = found.loss or 0.0
        return cls(
            first=found.round,
            last=found.round,
            at=found.at,
            losses=int(found.loss is not None),
            loss=loss,
            low=loss,
            high=loss,
            samples=found.samples,
            members=found.members,
            exchange_seconds=found.exchange_seconds,
            bytes_sent=found.bytes_sent,
            bytes_received=found.bytes_received,
        )

    def plus(self, other: Span) -> Span:
        """With the rounds after it."""
        with_loss = [span for span in (self, other) if span.losses]
        losses = self.losses + other.losses
        return Span(
            first=self.first,
            last=other.last,
            at=other.at,
            rounds=self.rounds + other.rounds,
            losses=losses,
            loss=sum(span.loss * span.losses for span in with_loss) / max(1, losses),
            low=min((span.low for span in with_loss), default=0.0),
            high=max((span.high for span in with_loss), default=0.0),
            samples=self.samples + other.samples,
            members=self.members + other.members,
            exchange_seconds=self.exchange_seconds + other.exchange_seconds,
            bytes_sent=self.bytes_sent + other.bytes_sent,
            bytes_received=self.bytes_received + other.bytes_received,
        )


def thinned(spans: Sequence[Span], most: int = MOST) -> list[Span]:
    """At most `most` of them, in order, that hold the same rounds."""
    return _joined(spans, _width(spans, most))


def _width(spans: Sequence[Span], most: int, width: int = 1) -> int:
    """How wide they must be, that wide at least."""
    while len({span.first // width for span in spans}) > most:
        width *= 2
    return width


def _joined(spans: Iterable[Span], width: int) -> list[Span]:
    made: list[Span] = []
    for span in spans:
        if made and made[-1].first // width == span.first // width:
            made[-1] = made[-1].plus(span)
        else:
            made.append(span)
    return made


class History:
    """All rounds of a run, in memory that does not grow with them. One thread adds."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._width = 1
        self._spans: list[Span] = []

    def add(self, found: Round) -> None:
        """The next round; in place of it and all later ones, if it was there."""
        self._drop(found.round)
        self._spans.append(Span.of(found))
        if len(self._spans) > 2 * self._most:
            self._width = _width(self._spans, self._most, self._width)
            self._spans = _joined(self._spans, self._width)

    def _drop(self, round_: int) -> None:
        """A span that begins before `round_` and ends after it goes as a whole: going back is rare, and the gap
        is as narrow as a point of the curve.
        """
        while self._spans and self._spans[-1].last >= round_:
            self._spans.pop()

    def spans(self) -> list[Span]:
        """The thinned history."""
        return _joined(self._spans, _width(self._spans, self._most, self._width))
