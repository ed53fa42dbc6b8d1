"""Capacity: the number of messages that a listener requests, so that it holds none that cannot start soon."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sized
from contextlib import asynccontextmanager

from snsqs._queue import MAX_BATCH_SIZE

PREFETCH_SECONDS = 1.0
"""Time for which handlers should have messages ahead. So a message waits for about as long."""

_INITIAL_ESTIMATE = 10.0
_DECAY = 0.9


class Capacity:
    """Free workers of a listener, and the messages that it may request in advance.

    Handlers that take longer than a second have no messages ahead: one that waits here could start on another
    instance. Handlers that are faster have messages for a second ahead, at most ten, because a call per
    message would take longer than the handler.
    """

    def __init__(
        self, workers: int, pending: Sized, *, batch_size: int, max_messages: int, is_fifo: bool
    ) -> None:
        """
        Args:
            workers: number of handlers that run at the same time.
            pending: messages that wait for a worker.
            batch_size: number of messages that each worker takes.
            max_messages: limit of a call.
            is_fifo: whether the messages of a group are handled one after the other, so that only one of
                those that a call returns can start.
        """
        self._workers = workers
        self._pending = pending
        self._batch_size = batch_size
        self._max_messages = max_messages
        self._is_fifo = is_fifo
        self._expected = 0
        self._running: dict[object, float] = {}
        """Times at which the workers that are busy began."""
        self._estimate = _INITIAL_ESTIMATE
        """Seconds that a message takes. It follows slower messages at once, and faster ones slowly, so that a
        few of them between slow ones do not count. Pessimistic until there are some."""
        self._changed = asyncio.Event()
        self._is_awaited = False
        self._time = asyncio.get_running_loop().time

    @property
    def busy(self) -> int:
        """Number of workers that handle messages."""
        return len(self._running)

    @asynccontextmanager
    async def reserve(self, is_blocked: Callable[[], bool]) -> AsyncIterator[int]:
        """Wait until messages can be requested, and reserve capacity for one call. Return their number."""
        while is_blocked() or (limit := self._requestable) < 1:
            self._is_awaited = True
            self._changed.clear()
            await self._changed.wait()
        self._expected += limit
        try:
            yield limit
        finally:
            self._expected -= limit
            self.notify()

    def notify(self) -> None:
        """Let those that wait for capacity ask again, if there may be some."""
        if self._is_awaited and self._waiting <= self._idle:
            self._is_awaited = False
            self._changed.set()

    def expect_slow(self) -> None:
        """Request no messages ahead until handlers are shown to be fast again."""
        self._estimate = max(self._estimate, _INITIAL_ESTIMATE)

    def begin(self) -> object:
        """Occupy a worker. Return a token for `end`."""
        token = object()
        self._running[token] = self._time()
        return token

    def end(self, token: object, handled: int) -> None:
        """Free the worker, which called a handler for this number of messages."""
        seconds = self._time() - self._running.pop(token)
        if handled:
            self._adapt(seconds / handled, handled)
        self.notify()

    def _adapt(self, seconds: float, count: int) -> None:
        """Adapt the estimate to messages that took this time each."""
        above = self._estimate - seconds
        self._estimate = seconds + above * _DECAY**count if above > 0 else seconds

    @property
    def _idle(self) -> int:
        return self._workers - self.busy

    @property
    def _waiting(self) -> int:
        return len(self._pending) + self._expected

    @property
    def _requestable(self) -> int:
        """Number of messages to request now; one call is ahead of workers that are all busy."""
        if self._waiting > self._idle:
            return 0
        limit = min(self._max_messages, self._idle * self._batch_size + self._prefetch - self._waiting)
        return min(limit, 1 + self._soon(1)) if self._is_fifo else limit

    @property
    def _prefetch(self) -> int:
        """Number of messages that can start soon on workers that are busy now. Workers that take longer than
        expected do not count."""
        earliest = self._time() - max(self._estimate, PREFETCH_SECONDS)
        late = sum(began < earliest for began in self._running.values())
        return self._soon(self._workers - late)

    def _soon(self, workers: int) -> int:
        """Return how many messages these workers handle in the time for which they have messages ahead."""
        if self._estimate > PREFETCH_SECONDS:
            return 0
        return min(MAX_BATCH_SIZE, int(workers * PREFETCH_SECONDS / max(self._estimate, 1e-3)))
