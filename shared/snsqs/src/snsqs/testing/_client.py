"""Connection of one consumer to a queue in memory."""

from collections.abc import Mapping, Sequence

from snsqs._queue import BatchOutcome, RawAttributes, Received
from snsqs.testing._queue import MemoryQueue


class MemoryQueueClient:
    """A consumer's connection to a queue. After `crash` every call fails, so that nothing that the consumer
    does while it is cancelled has an effect, as when its process was killed."""

    def __init__(self, queue: MemoryQueue) -> None:
        self._queue = queue
        self._is_crashed = False

    @property
    def name(self) -> str:
        return self._queue.name

    def crash(self) -> None:
        self._is_crashed = True

    async def receive(self, *, limit: int, wait: int, visibility: int) -> list[Received]:
        return await self._connected().receive(limit=limit, wait=wait, visibility=visibility)

    async def delete(self, handles: Sequence[str]) -> BatchOutcome:
        return await self._connected().delete(handles)

    async def change_visibility(self, seconds: Mapping[str, int]) -> BatchOutcome:
        return await self._connected().change_visibility(seconds)

    async def send(
        self, body: str, attributes: RawAttributes, *, group: str | None, deduplication: str
    ) -> str:
        return await self._connected().send(body, attributes, group=group, deduplication=deduplication)

    def _connected(self) -> MemoryQueue:
        if self._is_crashed:
            raise ConnectionResetError("the consumer has crashed")
        return self._queue
