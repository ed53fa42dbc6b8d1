"""Connections of one consumer to its queues in memory."""

from collections.abc import Callable, Mapping, Sequence

from snsqs._binding import Binding
from snsqs._queue import (
    DEFAULT_MAX_RECEIVE_COUNT,
    DEFAULT_VISIBILITY,
    BatchOutcome,
    ListenerQueues,
    RawAttributes,
    Received,
)
from snsqs._settings import DEFAULT_DEAD_LETTER_RETENTION, DEFAULT_RETENTION, QueueSettings
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


class MemoryConsumer:
    """Queue source of one listener, in place of a Topology: its connections crash together."""

    def __init__(
        self,
        subscribe: Callable[[Binding], tuple[MemoryQueue, MemoryQueue]],
        settings_of: Callable[[Binding], QueueSettings],
    ) -> None:
        self._subscribe = subscribe
        self._settings_of = settings_of
        self._clients: list[MemoryQueueClient] = []

    async def listener_queues(self, binding: Binding) -> ListenerQueues:
        queue, dead_letters = (MemoryQueueClient(each) for each in self._subscribe(binding))
        self._clients += [queue, dead_letters]
        settings = self._settings_of(binding)
        return ListenerQueues(
            queue,
            dead_letters,
            visibility=settings.visibility or DEFAULT_VISIBILITY,
            max_receive_count=settings.max_receive_count or DEFAULT_MAX_RECEIVE_COUNT,
            retention=settings.retention or DEFAULT_RETENTION,
            dead_letter_retention=settings.dead_letter_retention or DEFAULT_DEAD_LETTER_RETENTION,
        )

    def crash(self) -> None:
        for client in self._clients:
            client.crash()
