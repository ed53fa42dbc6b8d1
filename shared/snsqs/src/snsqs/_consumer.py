"""Consumer: handles the messages that a listener received, and settles each of them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from snsqs import _metrics
from snsqs._acknowledgement import Acknowledgement, Acknowledger
from snsqs._batch_failures import BatchFailures
from snsqs._binding import Binding
from snsqs._capacity import Capacity
from snsqs._errors import HandlerTimedOut, LeaseLost, Unavailable, error_text
from snsqs._handler import Delivery, MessageHandler
from snsqs._lease import Lease, LeaseKeeper, held
from snsqs._message import current_message
from snsqs._options import ListenerOptions
from snsqs._outcome import OutcomeObserver
from snsqs._pending import Incoming, PendingMessages, decode, leases_of, settled_before
from snsqs._queue import MAX_BATCH_SIZE, ListenerQueues, Received, is_fifo
from snsqs._running_handlers import RunningHandler, RunningHandlers
from snsqs._settlement import Settlement
from snsqs._threads import HandlerThreads
from snsqs._workers import supervise
from snsqs.backoff import full_jitter

log = logging.getLogger(__name__)

_MAX_WAIT = 5.0
"""Seconds that a message waits for a worker before it returns to the queue."""

_MAX_UNAVAILABLE_PAUSE = 60.0
"""Seconds; so a handler is called about fifteen times in the five minutes of `max_unavailable`."""


class Consumer:
    """Workers that handle pending messages. What a handler does decides what happens to its message:

    - It returns: the message is deleted (with `manual_ack` only if it was acknowledged).
    - It raises `TerminalError`, or any error at the last permitted receive: the message is sent to the
      dead-letter queue with the reason, then deleted. A crash in between duplicates the dead letter and
      loses nothing.
    - It raises `Unavailable`: the message is kept and tried again in place, so that an outage costs it none
      of its receives. The worker is occupied meanwhile, which slows polling down; that is intended.
    - Its lease is lost, also because it blocks the event loop: nothing, the queue delivers the message again.
    - It raises `RetryAfter`: the message is requeued with that visibility timeout.
    - It raises any other error, or takes longer than `handler_timeout`: the message is requeued with a
      visibility timeout that grows with its receive count, with full jitter, or that `backoff` gives.

    The messages of a batch that failed are handled again one by one, so that only those that fail by
    themselves fail, unless the handler reported them (`BatchFailures`). On a FIFO queue a requeued message
    takes the rest of its group with it.
    """

    def __init__(
        self,
        queues: ListenerQueues,
        binding: Binding,
        handle: MessageHandler,
        options: ListenerOptions,
        threads: HandlerThreads,
        observer: OutcomeObserver | None = None,
    ) -> None:
        in_order, timeout = is_fifo(queues.queue.name), options.handler_timeout
        self._queue = queues.queue
        self._binding = binding
        self._call = handle if timeout is None else _limited(handle, timeout)
        self._options = options
        self._threads = threads
        self._leases = LeaseKeeper(queues.queue, queues.visibility, options.max_lease_extension)
        self._acknowledger = Acknowledger(
            queues.queue, self._leases, linger=0 if in_order else 0.1, on_recovery=self._on_recovery
        )
        self._pending = PendingMessages(is_fifo=in_order)
        self._running = RunningHandlers(queues.queue.name, options)
        self._settlement = Settlement(
            queues, options, self._leases, self._acknowledger, self._pending, self._running, observer
        )
        self._capacity = Capacity(
            options.max_concurrency,
            self._pending,
            batch_size=_batch_size(binding),
            max_messages=options.max_messages_per_poll,
            is_fifo=in_order,
        )
        self._is_aborted = False
        """True once the workers are cancelled."""

    @property
    def in_flight(self) -> int:
        """Number of running handlers."""
        return self._capacity.busy

    @property
    def buffered(self) -> int:
        """Number of received messages that wait for a worker."""
        return len(self._pending)

    @property
    def is_blocked(self) -> bool:
        """True while handled messages cannot be deleted, so that no more are received."""
        return self._acknowledger.is_blocked

    @property
    def degraded_reason(self) -> str | None:
        """Reason why messages are handled late or not at all, or None."""
        return self._running.degraded_reason

    @property
    def oldest_message_age(self) -> float | None:
        """Seconds since the oldest message was sent whose lease is held; None if there is none."""
        return self._leases.oldest_message_age

    def reserve_capacity(self) -> AbstractAsyncContextManager[int]:
        """Wait until messages can be received that can start soon, and reserve capacity for one receive call.
        Return its number of messages."""
        return self._capacity.reserve(lambda: self.is_blocked)

    def add(self, messages: Sequence[Received]) -> None:
        """Add received messages to the pending ones. Their leases are extended from now on."""
        name = self._queue.name
        _metrics.received[name] += len(messages)
        _metrics.redelivered[name] += sum(received.receive_count > 1 for received in messages)
        for received in messages:
            lease = self._leases.track(received)
            is_known = self._acknowledger.is_known(received.message_id)
            self._pending.add(
                settled_before(lease) if is_known else decode(lease, self._binding, self._options)
            )

    def _on_recovery(self) -> None:
        self._capacity.notify()

    @asynccontextmanager
    async def running(self, *, returns_waiting: bool = True) -> AsyncIterator[None]:
        """Run the workers while the body runs. At its end pending messages are requeued, running handlers
        may finish within `shutdown_timeout`, after which they are cancelled, and threads and handlers that
        ignore it are abandoned. Acknowledgements are flushed.

        With `returns_waiting` messages return to the queue, once each, that no worker has taken for five
        seconds: handlers are slower than expected, and another instance may have an idle one."""
        async with self._leases.extending(), self._acknowledger.deleting():
            with suppress(TimeoutError):
                async with asyncio.timeout(None) as shutdown, asyncio.TaskGroup() as tasks:
                    watching = [tasks.create_task(self._running.keep_checking())]
                    if returns_waiting:
                        watching.append(tasks.create_task(self._keep_returning()))
                    workers = [
                        asyncio.create_task(self._work()) for _ in range(self._options.max_concurrency)
                    ]
                    supervising = tasks.create_task(supervise(workers, on_cancel=self._abort))
                    try:
                        yield
                        shutdown.reschedule(
                            asyncio.get_running_loop().time() + self._options.shutdown_timeout
                        )
                        self.close()
                        await self._leases.requeue(leases_of(self._pending.drain()), delay=0)
                        await asyncio.wait([supervising])
                    finally:
                        for task in watching:
                            task.cancel()
            self._threads.abandon()

    def _abort(self) -> None:
        """Prepare for the cancellation of the workers."""
        self._is_aborted = True
        self._threads.abandon()

    async def _keep_returning(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(_MAX_WAIT / 2)
            if waiting := self._pending.take_waiting(now() - _MAX_WAIT):
                log.info("messages returned, because handlers are slow", extra={"count": len(waiting)})
                self._capacity.expect_slow()
                await self._leases.requeue(leases_of(waiting), delay=0)

    def close(self) -> None:
        """Start no more handlers."""
        self._pending.close(self._options.max_concurrency)

    async def _work(self) -> None:
        while not self._is_aborted and (batch := await self._pending.pop_group()) is not None:
            worker = self._capacity.begin()
            try:
                await self._process(batch)
            except Exception as error:  # of the settlement
                self._settlement.abandon(batch, error)
            self._pending.release(batch[0])
            self._capacity.end(worker, len(batch) if batch[0].handler else 0)

    async def _process(self, batch: Sequence[Incoming]) -> None:
        """Handle messages of one handler, and settle them."""
        first = batch[0]
        # Not reset afterwards: a worker is a task, which sets it again for its next messages.
        current_message.set(first.message)
        if first.error is not None:
            await self._settlement.reject(first, first.error)
            return
        leases = leases_of(batch)
        acknowledgement = Acknowledgement(self._acknowledger, leases)
        delivery = _delivery(batch, self._queue.name, acknowledgement)
        try:
            await self._handle(delivery, leases)
        except LeaseLost as error:
            await self._settlement.lose(batch, error)
        except asyncio.CancelledError as error:
            if self._is_aborted:
                self._settlement.cancel(batch)
                raise
            # The handler awaited something that was cancelled.
            await self._settlement.fail(batch, acknowledgement, error)
        except Exception as error:
            await self._settlement.fail(batch, acknowledgement, error)
        else:
            failures = delivery.resources.get(BatchFailures)
            if isinstance(failures, BatchFailures) and failures.errors:
                await self._settlement.succeed_partly(batch, delivery.outcomes, failures.errors)
            else:
                await self._settlement.succeed(batch, acknowledgement, delivery.outcomes)

    async def _handle(self, delivery: Delivery, leases: Sequence[Lease]) -> None:
        """Call the handler while its leases hold. Raises CancelledError when the consumer was cancelled, also
        if the handler ignored that, and withdraws a cancellation of this task by the handler itself."""
        running = self._running.add(delivery.handler, leases)
        try:
            async with held(leases):
                await self._handle_when_available(delivery, running)
        finally:
            self._running.remove(running)
            await self._withdraw_cancellation()
        if self._is_aborted:
            raise asyncio.CancelledError

    async def _handle_when_available(self, delivery: Delivery, running: RunningHandler) -> None:
        """Call the handler until it does not raise Unavailable, or raise that after `max_unavailable`."""
        now = asyncio.get_running_loop().time
        deadline, failures = now() + self._options.max_unavailable, 0
        while True:
            delivery.outcomes.clear()
            running.begin()
            try:
                return await self._call(delivery)
            except Unavailable as error:
                failures += 1
                remaining = deadline - now()
                if remaining <= 0:
                    raise
                pause = full_jitter(failures, base=1, cap=_MAX_UNAVAILABLE_PAUSE, floor=0.5)
                pause = min(pause, remaining)
                running.waits_for = error_text(error)
                about = {"error": running.waits_for, "retry_in": round(pause, 1)}
                log.warning("handler waits for a dependency", extra=about)
            await asyncio.sleep(pause)

    async def _withdraw_cancellation(self) -> None:
        task = asyncio.current_task()
        if self._is_aborted or task is None or not task.cancelling():
            return
        with suppress(asyncio.CancelledError):  # is raised by the next await, if it was not before
            await asyncio.sleep(0)
        while task.cancelling():
            task.uncancel()


def _batch_size(binding: Binding) -> int:
    """Return the number of messages that each worker takes, if that is the same for all."""
    takes_batches = all(handler.takes_batches for handler in binding.handlers.values())
    return MAX_BATCH_SIZE if takes_batches else 1


def _limited(handle: MessageHandler, seconds: float) -> MessageHandler:
    """Return the handler with a time limit. It raises HandlerTimedOut, also when the handler ignores its
    cancellation."""

    async def handle_in_time(delivery: Delivery) -> None:
        timed_out = HandlerTimedOut(f"timed out after {seconds:g} s")
        try:
            async with asyncio.timeout(seconds) as limit:
                await handle(delivery)
        except TimeoutError:
            if limit.expired():
                raise timed_out from None
            raise
        except Exception as error:
            if limit.expired():
                raise timed_out from error
            raise
        if limit.expired():
            raise timed_out

    return handle_in_time


def _delivery(batch: Sequence[Incoming], queue: str, acknowledgement: Acknowledgement) -> Delivery:
    first = batch[0]
    resources: dict[type, object] = {Acknowledgement: acknowledgement}
    if len(batch) == 1:
        resources[Lease] = first.lease
    if first.handler is not None and first.handler.takes_failures:
        resources[BatchFailures] = BatchFailures()
    return Delivery(
        tuple(incoming.message for incoming in batch),
        queue,
        max(incoming.received.receive_count for incoming in batch),
        first.received.received_at,
        handler=first.handler.name if first.handler else "",
        resources=resources,
    )
