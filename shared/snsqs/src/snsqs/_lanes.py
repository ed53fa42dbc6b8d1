"""Lanes: the order in which received messages get their turn."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Hashable

from snsqs._incoming import Incoming


class Lanes:
    """Messages that wait for a worker.

    A message of a standard queue has a lane of its own. Messages of one batch handler share a lane, and
    what waits there is taken together. Messages of a FIFO group share a lane that only one worker is on at
    a time, in order, while other groups are worked on in parallel.
    """

    def __init__(self, *, in_order: bool) -> None:
        self.waiting = 0
        self._is_closed = False
        self._in_order = in_order
        self._lanes: defaultdict[Hashable, deque[Incoming]] = defaultdict(deque)
        self._taken: set[Hashable] = set()
        self._turns: asyncio.Queue[Hashable | None] = asyncio.Queue()

    def add(self, incoming: Incoming) -> None:
        """At the end of its lane."""
        lane = incoming.lane
        self._lanes[lane].append(incoming)
        self.waiting += 1
        if lane not in self._taken:
            self._turns.put_nowait(lane)
        if self._in_order:
            self._taken.add(lane)

    async def next(self) -> list[Incoming] | None:
        """The messages whose turn it is, which have one handler; empty when others have taken them
        already, None when there is nothing more to do."""
        lane = await self._turns.get()
        return None if self._is_closed or lane is None else self._pop(lane)

    def done(self, lane: Hashable) -> None:
        """The messages of the last turn are settled; the next of the lane may have theirs."""
        if not self._in_order:
            return
        if self._lanes.get(lane):
            self._turns.put_nowait(lane)
        else:
            self._taken.discard(lane)

    def held_back_by(self, failed: Incoming) -> list[Incoming]:
        """Takes out what must not be handled before the failed message is: the rest of its FIFO group."""
        return self._clear(failed.lane) if self._in_order else []

    def close(self, workers: int) -> None:
        """Nobody gets a turn any more; so many workers are told so."""
        self._is_closed = True
        for _ in range(workers):
            self._turns.put_nowait(None)

    def take_out_all(self) -> list[Incoming]:
        """What waits, and now waits no longer."""
        return [incoming for lane in list(self._lanes) for incoming in self._clear(lane)]

    def _clear(self, lane: Hashable) -> list[Incoming]:
        cleared = list(self._lanes.pop(lane, ()))
        self.waiting -= len(cleared)
        return cleared

    def _pop(self, lane: Hashable) -> list[Incoming]:
        line = self._lanes.get(lane)
        if not line:
            return []
        turn = [line.popleft()]
        while line and len(turn) < turn[0].together and line[0].handler is turn[0].handler:
            turn.append(line.popleft())
        if not line:
            del self._lanes[lane]
        self.waiting -= len(turn)
        return turn
