"""What one peer does for the groups that it is in, where others ask for it by the group's id."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from peer.newest import Newest

Work = TypeVar("Work")

_JOIN_SECONDS = 10.0  # how long a fast groupmate waits for our own word from the leader
REMEMBERED = 8
_EXPECTED = 64  # groups that somebody waits for


class Groups(Generic[Work]):
    """This peer's work for each of the newest groups. For one event loop. Who asks for groups that there are not takes
    little memory, and no group's place.
    """

    def __init__(self) -> None:
        self._works = Newest[bytes, Work](REMEMBERED)
        self._expected: dict[bytes, asyncio.Future[Work]] = {}

    def __len__(self) -> int:
        return len(self._works) + len(self._expected)

    def join(self, group_id: bytes, work: Work) -> None:
        """Take part in a group from now on."""
        self._works[group_id] = work
        if expected := self._expected.pop(group_id, None):
            expected.set_result(work)

    def leave(self, group_id: bytes) -> None:
        """Let go of what was done for it."""
        self._works.pop(group_id, None)

    def joined(self, group_id: bytes) -> bool:
        return group_id in self._works

    def forget(self) -> None:
        """Let go of what was done for earlier groups; who waits for a group goes on waiting."""
        self._works.clear()

    async def get(self, group_id: bytes) -> Work | None:
        """A group's work, or None. A groupmate may be faster than the leader's word to us: it waits."""
        if group_id in self._works:
            return self._works[group_id]
        expected = self._expect(group_id)
        done, _ = await asyncio.wait([expected], timeout=_JOIN_SECONDS)
        return expected.result() if done and not expected.cancelled() else None

    def _expect(self, group_id: bytes) -> asyncio.Future[Work]:
        if group_id not in self._expected:
            self._expected[group_id] = asyncio.get_running_loop().create_future()
            if len(self._expected) > _EXPECTED:
                self._expected.pop(next(iter(self._expected))).cancel()
        return self._expected[group_id]
