"""ListenerContainer: polls one queue for as long as a service runs.

The path of a message: `ListenerContainer._poll` receives it, `Consumer` handles and settles it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from snsqs import _metrics
from snsqs._binding import Binding
from snsqs._consumer import Consumer
from snsqs._dispatch import message_handler
from snsqs._errors import TopologyError, error_reason
from snsqs._handler import Middleware
from snsqs._health import ListenerHealth, ListenerState
from snsqs._monitored_queue import CallFailures, MonitoredQueue
from snsqs._options import ListenerOptions, validate_observer, validate_options
from snsqs._outcome import OutcomeObserver
from snsqs._poll_capacity import poll_capacity
from snsqs._queue import ListenerQueues, Received, validate_queues
from snsqs._sqs import SqsQueue
from snsqs._threads import HandlerThreads
from snsqs.aws import is_queue_gone, transient_errors
from snsqs.backoff import full_jitter

T = TypeVar("T")

_NOT_CONNECTED = "not connected yet"

_EXTRA_POLL_TIMEOUT = 1
"""Seconds that a poller beside the first one waits for messages. It ends when the queue is empty, and must
not occupy a connection that the first poller of another listener needs."""

_HALT_TIMEOUT = 0.5
"""Seconds before a running receive call is cancelled when the listener is paused or stopped."""


class QueueSource(Protocol):
    """Provider of a listener's queues: a `Topology`, or in memory the one of a `MemoryBroker`."""

    async def listener_queues(self, binding: Binding) -> ListenerQueues:
        """Return the queue and dead-letter queue of a binding. Raises TopologyError when one is missing."""
        ...


class ListenerContainer:
    """Runs the handlers of one Binding until it is stopped.

    A message is deleted after its handler returned, so it is handled at least once. An error of the handler
    decides what happens to the message (see `MessagingError` and its subclasses); errors of the queue are
    waited out. Middleware wraps the handlers, the first one outermost; `observer` is called for every
    outcome. Raises ListenerMisconfigured when a handler has a parameter that no middleware provides.
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
        self.binding = binding
        self._source = source
        self._options = options or binding.options or ListenerOptions()
        validate_options(binding, self._options)
        validate_observer(observer)
        self._observer = observer
        self._threads = HandlerThreads(self._options.max_concurrency)
        self._handle = message_handler(binding, middleware, self._threads)
        self._middleware = middleware
        self._queues: ListenerQueues | None = None
        self._consumer: Consumer | None = None
        self._failures = CallFailures()
        self._last_poll: datetime | None = None
        self._is_running = False
        self._error: str | None = None
        """The error that ended `run`."""
        self._stopping = asyncio.Event()
        self._halting = asyncio.Event()
        """Set while paused or stopping; replaced on resume."""
        self._resumed = asyncio.Event()
        self._resumed.set()

    async def prepare(self) -> None:
        """Find or create the queue. Raises TopologyError when one is missing in production. If SQS is
        unreachable that is left to `run`, so that a service starts without it."""
        with suppress(*transient_errors()):
            await self._connect()

    @property
    def degraded_reason(self) -> str | None:
        """Reason why messages are not received, not settled, or not handled as they should be, or None."""
        if self.is_paused:
            return "paused"
        if self._queues is None or self._consumer is None:
            return self._failures.reason or (None if self._queues else _NOT_CONNECTED)
        if self._consumer.is_blocked:
            return f"{self._failures.reason}; receives no messages while it cannot delete them"
        return self._failures.reason or self._consumer.degraded_reason

    @property
    def health(self) -> ListenerHealth:
        """Condition of the listener. Read it on the event loop that the listener runs on."""
        return ListenerHealth(
            self.binding.queue,
            self._state,
            self._error or self.degraded_reason,
            self.in_flight,
            self.buffered,
            self._consumer.oldest_message_age if self._consumer else None,
            self._last_poll,
        )

    @property
    def _state(self) -> ListenerState:
        if self._error is not None:
            return "stopped"
        if self._stopping.is_set():
            return "stopping" if self._is_running else "stopped"
        if self.is_paused:
            return "paused"
        if self._failures.reason or (self._consumer and self._consumer.degraded_reason):
            return "degraded"
        return "listening" if self._consumer else "starting"

    @property
    def in_flight(self) -> int:
        """Number of running handlers, with `def` handlers whose thread did not return in time."""
        return self._consumer.in_flight if self._consumer else 0

    @property
    def buffered(self) -> int:
        """Number of received messages that wait for a handler."""
        return self._consumer.buffered if self._consumer else 0

    @property
    def is_paused(self) -> bool:
        return not self._resumed.is_set()

    def pause(self) -> None:
        """Stop receiving until `resume`. Messages that were received are still handled."""
        if not self._stopping.is_set():
            self._resumed.clear()
            self._halting.set()

    def resume(self) -> None:
        """Receive again."""
        self._halting = asyncio.Event()  # calls that are still ending wait for the previous one
        self._resumed.set()

    def stop(self) -> None:
        """Stop receiving and start no more handlers; `run` returns within twenty seconds."""
        self._stopping.set()
        self._halting.set()
        self._resumed.set()
        if self._consumer is not None:
            self._consumer.close()

    async def run(self) -> None:
        """Receive and handle messages until `stop`, then drain."""
        self._is_running = True
        try:
            await self._run()
        except BaseException as error:
            self._error = error_reason(error)
            raise
        finally:
            self._is_running = False

    async def _run(self) -> None:
        queues = self._queues or await self._connect_eventually()
        if queues is None:
            return
        consumer = self._consumer = Consumer(
            queues,
            self.binding,
            self._handle,
            self._options,
            self._threads,
            self._observer,
        )
        with _metrics.observing_in_flight(self.binding.queue, consumer):
            await self._receive_until_stopped(queues, consumer)

    async def _receive_until_stopped(self, queues: ListenerQueues, consumer: Consumer) -> None:
        async with consumer.running():
            while not self._stopping.is_set():
                await self._unless_halted(self._poll(queues, consumer))
                await self._resumed.wait()

    async def _poll(self, queues: ListenerQueues, consumer: Consumer) -> None:
        """Receive until halted: with one poller, and up to `max_pollers` while calls return full batches."""
        halting, pollers = self._halting, 0

        def start_poller(*, is_extra: bool) -> None:
            nonlocal pollers
            pollers += 1
            group.create_task(keep_polling(is_extra=is_extra))

        async def keep_polling(*, is_extra: bool) -> None:
            nonlocal pollers
            wait = _EXTRA_POLL_TIMEOUT if is_extra else self._options.poll_timeout
            is_full = True
            while is_full or not is_extra:
                async with consumer.reserve_capacity() as limit:
                    if halting.is_set():
                        break
                    messages = await self._receive(queues, limit, wait)
                    consumer.add(messages)
                is_full = len(messages) == self._options.max_messages_per_poll
                if is_full and pollers < self._options.max_pollers:
                    start_poller(is_extra=True)
            pollers -= 1

        async with asyncio.TaskGroup() as group:
            start_poller(is_extra=False)

    async def _receive(self, queues: ListenerQueues, limit: int, wait: int) -> list[Received]:
        messages = await self._until_reachable(lambda: self._try_receive(queues, limit, wait))
        self._last_poll = datetime.now(UTC)
        return messages

    async def _try_receive(self, queues: ListenerQueues, limit: int, wait: int) -> list[Received]:
        try:
            return await queues.queue.receive(limit=limit, wait=wait, visibility=queues.visibility)
        except transient_errors() as error:
            if is_queue_gone(error):
                with suppress(TopologyError):  # in production; waited out, as any other error of the queue
                    await self._connect()  # creates it again in development
            raise

    async def _connect(self) -> ListenerQueues:
        try:
            found = await self._source.listener_queues(self.binding)
        except transient_errors() as error:
            self._failures.failed(self.binding.queue, "connect", error)
            raise
        validate_queues(self._middleware, found)
        if self._queues is None and isinstance(found.queue, SqsQueue):
            poll_capacity(found.queue.client).add_listener(found.queue)
        self._failures.reconnected()
        self._queues = replace(
            found,
            queue=MonitoredQueue(found.queue, self._failures),
            dead_letters=MonitoredQueue(found.dead_letters, self._failures),
        )
        return self._queues

    async def _connect_eventually(self) -> ListenerQueues | None:
        """Return the queues, however long SQS is unreachable, or None when stopped before."""
        queues = None
        while queues is None and not self._stopping.is_set():
            await self._resumed.wait()
            queues = await self._unless_halted(self._until_reachable(self._connect))
        return queues

    async def _until_reachable(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call of SQS until it does not raise a transient error. Return its result."""
        failures = 0
        while True:
            try:
                return await call()
            except transient_errors():
                failures += 1
                pause = full_jitter(failures, base=2, cap=self._options.max_poll_backoff, floor=0.5)
                await asyncio.sleep(pause)

    async def _unless_halted(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return the result of the work, or None when `pause` or `stop` cut it short. It is cancelled with a
        delay only, because a receive call that is about to return has leased its messages already."""
        working = asyncio.ensure_future(work)
        halting = asyncio.ensure_future(self._halting.wait())
        try:
            await asyncio.wait({working, halting}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({working}, timeout=_HALT_TIMEOUT)
            return working.result() if working.done() else None
        finally:
            working.cancel()
            halting.cancel()
            await asyncio.wait({working, halting})
