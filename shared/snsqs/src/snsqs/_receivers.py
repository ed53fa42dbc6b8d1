"""Receivers: how many receive calls a listener has under way."""

import asyncio
from collections.abc import Awaitable, Callable

from snsqs._consumer import Consumer
from snsqs._queue import MAX_BATCH_SIZE, Received

Receive = Callable[[], Awaitable[list[Received]]]


class Receivers:
    """One receive call at a time when there is little to do, up to `most` while they come back full."""

    def __init__(self, receive: Receive, consumer: Consumer, *, most: int, halting: asyncio.Event) -> None:
        self._receive = receive
        self._consumer = consumer
        self._most = most
        self._halting = halting
        self._count = 0

    async def run(self) -> None:
        """Receives until halted; then no call is begun any more."""
        async with asyncio.TaskGroup() as group:
            self._add(group, is_extra=False)

    def _add(self, group: asyncio.TaskGroup, *, is_extra: bool) -> None:
        self._count += 1
        group.create_task(self._keep_receiving(group, is_extra=is_extra))

    async def _keep_receiving(self, group: asyncio.TaskGroup, *, is_extra: bool) -> None:
        is_full = True
        while is_full or not is_extra:
            async with self._consumer.room():
                if self._halting.is_set():
                    break
                messages = await self._receive()
                self._consumer.take(messages)
            is_full = len(messages) == MAX_BATCH_SIZE
            if is_full and self._count < self._most:
                self._add(group, is_extra=True)
        self._count -= 1
