"""Each finished round, told once to those who keep, count or show rounds; again only after the run went back."""

from __future__ import annotations

from collections.abc import Callable

from coordinator.rounds import RoundSummary
from coordinator.state import State

_QUIET_SECONDS = 10.0  # without another round: all reports of the last one are here


class Chronicle:
    """`listeners` hear of the rounds that `look` finds settled, in their order, in the thread that looks.

    A round is settled when the one after it is finished, too, or nothing followed for a while: reports of it that come
    later are counted as ever, but no more told. Rounds below `told` were told before a restart; without it, all that
    are finished.
    """

    def __init__(self, state: State, told: int | None = None) -> None:
        self.listeners: list[Callable[[RoundSummary], None]] = []
        self._told = state.round if told is None else told
        self._round = state.round
        self._since = 0.0  # Unix seconds, when the run came to the round
        self._returns = state.ledger.returns

    def look(self, state: State, now: float) -> None:
        """Tell what is settled at `now`, Unix seconds."""
        if state.round != self._round:
            self._round, self._since = state.round, now
        undone = [back.round for back in state.ledger.returns if back not in self._returns]
        self._told, self._returns = min([self._told, *undone]), state.ledger.returns
        settled = state.round - (now - self._since < _QUIET_SECONDS)
        for number in range(self._told, settled):
            if number in state.votes:
                self._tell(state.votes[number].summary(number))
            self._told = number + 1  # at once: when a listener fails, those before are not told again

    def _tell(self, summary: RoundSummary) -> None:
        for listener in self.listeners:
            listener(summary)
