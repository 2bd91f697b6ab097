"""What one peer does for the groups that it is in, where others ask for it by the group's id."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

Work = TypeVar("Work")

_JOIN_SECONDS = 10.0  # how long a fast groupmate waits for our own word from the leader
_REMEMBERED = 8


class Groups(Generic[Work]):
    """This peer's work for each of the newest groups. For one event loop."""

    def __init__(self) -> None:
        self._works: dict[bytes, asyncio.Future[Work]] = {}

    def __len__(self) -> int:
        return len(self._works)

    def join(self, group_id: bytes, work: Work) -> None:
        """Take part in a group from now on."""
        self._expect(group_id).set_result(work)

    def joined(self, group_id: bytes) -> bool:
        found = self._works.get(group_id)
        return found is not None and found.done()

    def forget(self) -> None:
        """Let go of what was done for earlier groups; who waits for a group goes on waiting."""
        self._works = {group_id: found for group_id, found in self._works.items() if not found.done()}

    async def get(self, group_id: bytes) -> Work | None:
        """A group's work, or None. A groupmate may be faster than the leader's word to us: it waits."""
        try:
            return await asyncio.wait_for(asyncio.shield(self._expect(group_id)), _JOIN_SECONDS)
        except TimeoutError:
            return None

    def _expect(self, group_id: bytes) -> asyncio.Future[Work]:
        if group_id not in self._works:
            self._works[group_id] = asyncio.get_running_loop().create_future()
            while len(self._works) > _REMEMBERED:
                self._works.pop(next(iter(self._works))).cancel()
        return self._works[group_id]
