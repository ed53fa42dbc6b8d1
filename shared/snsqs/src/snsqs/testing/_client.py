"""What one consumer has of a queue, until it crashes."""

from collections.abc import Mapping, Sequence

from snsqs._queue import BatchOutcome, RawAttributes, Received
from snsqs.testing._queue import MemoryQueue


class MemoryQueueClient:
    """A consumer's own way to a queue. After `crash` the consumer reaches nothing any more, so whatever
    it still does on its way out has no effect, as when its process was killed."""

    def __init__(self, queue: MemoryQueue) -> None:
        self._queue = queue
        self._is_crashed = False

    @property
    def name(self) -> str:
        return self._queue.name

    def crash(self) -> None:
        self._is_crashed = True

    async def receive(self, *, limit: int, wait: int, visibility: int) -> list[Received]:
        return await self._alive().receive(limit=limit, wait=wait, visibility=visibility)

    async def delete(self, handles: Sequence[str]) -> BatchOutcome:
        return await self._alive().delete(handles)

    async def change_visibility(self, seconds: Mapping[str, int]) -> BatchOutcome:
        return await self._alive().change_visibility(seconds)

    async def send(
        self, body: str, attributes: RawAttributes, *, group: str | None, deduplication: str
    ) -> str:
        return await self._alive().send(body, attributes, group=group, deduplication=deduplication)

    def _alive(self) -> MemoryQueue:
        if self._is_crashed:
            raise ConnectionResetError("this consumer has crashed")
        return self._queue
