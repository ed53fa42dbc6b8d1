"""ListenerContainer: receives from one queue for as long as the service runs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from snsqs._consumer import Consumer, ConsumerOptions
from snsqs._errors import ListenerMisconfigured
from snsqs._handler import Binding, Middleware, compose, dispatch
from snsqs._queue import MAX_BATCH_SIZE, ListenerQueues, Queue, QueueSettings, Received
from snsqs._receivers import Receivers
from snsqs._settled import OutcomeObserver
from snsqs.aws import RECEIVE_WAIT, is_queue_gone, transient_errors
from snsqs.backoff import full_jitter

log = logging.getLogger(__name__)

T = TypeVar("T")

_LAST_CALL = 0.5
"""Seconds that a call under way is given when the listener is halted."""


class QueueSource(Protocol):
    """Where a listener gets its queues from: `Topology`, or in tests what `MemoryBroker` gives it."""

    @property
    def settings(self) -> QueueSettings: ...

    async def listener_queues(self, binding: Binding) -> ListenerQueues: ...


@dataclass(frozen=True)
class ListenerOptions(ConsumerOptions):
    """How a listener works; the times are seconds."""

    poll_timeout: int = RECEIVE_WAIT
    """How long one receive call waits for a message."""
    max_pollers: int = 4
    """Receive calls at once, under load. An idle listener has one."""
    max_poll_backoff: float = 10.0
    """The longest wait after a receive call that failed."""


class ListenerContainer:
    """Runs the handlers of one Binding until it is stopped.

    A message is acknowledged after its handler returned, so it is handled at least once. What a handler
    raises decides what happens to the message: see `Settlement`. Errors of the queue itself are waited out.
    """

    def __init__(
        self,
        source: QueueSource,
        binding: Binding,
        *,
        middleware: Sequence[Middleware] = (),
        options: ListenerOptions | None = None,
        observer: OutcomeObserver | None = None,
    ) -> None:
        _check_that_handlers_get_what_they_ask_for(binding, middleware)
        self.binding = binding
        self._degraded_reason: str | None = "not connected yet"
        self._source = source
        self._options = options or ListenerOptions()
        self._observer = observer
        self._handle = compose(dispatch(binding), middleware)
        self._queues: ListenerQueues | None = None
        self._consumer: Consumer | None = None
        self._stopping = asyncio.Event()
        self._halting = asyncio.Event()
        self._resumed = asyncio.Event()
        self._resumed.set()

    async def prepare(self) -> None:
        """Finds or creates the queue. Raises TopologyError where one is missing in production. When SQS
        cannot be reached that is left to `run`, so that a service can start without it."""
        try:
            await self._connect()
        except transient_errors() as error:
            self._degraded_reason = str(error)
            log.warning("queue not reached yet", extra={"queue": self.binding.queue, "error": str(error)})

    @property
    def degraded_reason(self) -> str | None:
        """Why nothing is received just now, or None while all is well."""
        return "paused" if self.is_paused else self._degraded_reason

    @property
    def in_flight(self) -> int:
        """Handlers that run."""
        return self._consumer.in_flight if self._consumer else 0

    @property
    def buffered(self) -> int:
        """Messages that were received and have not begun."""
        return self._consumer.buffered if self._consumer else 0

    @property
    def is_paused(self) -> bool:
        return not self._resumed.is_set()

    def pause(self) -> None:
        """Receives nothing more until `resume`; what was received is still handled."""
        if not self._stopping.is_set():
            self._resumed.clear()
            self._halting.set()

    def resume(self) -> None:
        """Receives again."""
        self._halting = asyncio.Event()  # a new one, because those who see the old one are still ending
        self._resumed.set()

    def stop(self) -> None:
        """Receives and begins nothing more; `run` returns within twenty seconds."""
        self._stopping.set()
        self._halting.set()
        self._resumed.set()
        if self._consumer is not None:
            self._consumer.close()

    async def run(self) -> None:
        """Receives and handles until `stop`, and drains."""
        queues = self._queues or await self._connected()
        if queues is None:
            return
        consumer = self._consumer = Consumer(
            queues, self.binding, self._handle, self._options, self._source.settings, self._observer
        )
        async with consumer.working():
            while not self._stopping.is_set():
                receivers = Receivers(
                    lambda: self._receive(queues.queue),
                    consumer,
                    most=self._options.max_pollers,
                    halting=self._halting,
                )
                await self._unless_halted(receivers.run())
                await self._resumed.wait()

    async def _connected(self) -> ListenerQueues | None:
        """The queues, however long that takes; None when it is stopped before."""
        queues = None
        while queues is None and not self._stopping.is_set():
            await self._resumed.wait()
            queues = await self._unless_halted(self._until_it_works(self._connect))
        return queues

    async def _receive(self, queue: Queue) -> list[Received]:
        return await self._until_it_works(lambda: self._try_to_receive(queue))

    async def _try_to_receive(self, queue: Queue) -> list[Received]:
        visibility = self._source.settings.visibility
        try:
            return await queue.receive(
                limit=MAX_BATCH_SIZE, wait=self._options.poll_timeout, visibility=visibility
            )
        except transient_errors() as error:
            if is_queue_gone(error):
                await self._connect()  # creates it again in development; TopologyError in production
            raise

    async def _connect(self) -> ListenerQueues:
        self._queues = await self._source.listener_queues(self.binding)
        self._degraded_reason = None
        return self._queues

    async def _until_it_works(self, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result, however long SQS is away, slow, throttling or refusing."""
        failures = 0
        while True:
            try:
                result = await call()
            except transient_errors() as error:
                failures += 1
                await self._wait_out(error, failures)
            else:
                self._degraded_reason = None
                return result

    async def _wait_out(self, error: Exception, failures: int) -> None:
        pause = full_jitter(failures, base=2, cap=self._options.max_poll_backoff, floor=0.5)
        self._degraded_reason = f"SQS: {error}"
        about = {"queue": self.binding.queue, "error": str(error), "retry_in": round(pause, 1)}
        log.warning("queue not reached", extra=about)
        await asyncio.sleep(pause)

    async def _unless_halted(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The work's result, or None when `pause` or `stop` came first and it did not end by itself. It is
        not cancelled at once: a receive call that is about to return has leased its messages already."""
        working = asyncio.ensure_future(work)
        halting = asyncio.ensure_future(self._halting.wait())
        try:
            await asyncio.wait({working, halting}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({working}, timeout=_LAST_CALL)
            return working.result() if working.done() else None
        finally:
            working.cancel()
            halting.cancel()
            await asyncio.wait({working, halting})


def _check_that_handlers_get_what_they_ask_for(binding: Binding, middleware: Sequence[Middleware]) -> None:
    provided = {kind for layer in middleware for kind in layer.provides}
    for handler in binding.handlers.values():
        if missing := handler.asks_for - provided:
            names = ", ".join(sorted(kind.__name__ for kind in missing))
            raise ListenerMisconfigured(f"{handler.name} asks for {names}, and no middleware provides it")
