"""Consumer: handles the messages that a listener received, and settles each of them."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from snsqs import _metrics
from snsqs._acknowledgement import Acknowledgement, Acknowledger
from snsqs._batch_failures import BatchFailures
from snsqs._dead_letter import dead_letter_attributes
from snsqs._errors import (
    MAX_VISIBILITY,
    HandlerTimedOut,
    LeaseLost,
    MessagingError,
    RetryAfter,
    TerminalError,
    Unavailable,
)
from snsqs._handler import Binding, Delivery, MessageHandler
from snsqs._lease import Lease, LeaseKeeper, held
from snsqs._message import current_message
from snsqs._options import ListenerOptions
from snsqs._outcome import MessageOutcome, OutcomeObserver, count_outcome
from snsqs._pending import Incoming, PendingMessages, decode, settled_before
from snsqs._queue import MAX_BATCH_SIZE, ListenerQueues, Received, is_fifo
from snsqs._threads import HandlerThreads
from snsqs.aws import transient_errors
from snsqs.backoff import full_jitter

log = logging.getLogger(__name__)


class Consumer:
    """Workers that handle pending messages. What a handler does decides what happens to its message:

    - It returns: the message is deleted (with `manual_ack` only if it was acknowledged).
    - It raises `TerminalError`, or any error at the last permitted receive: the message is sent to the
      dead-letter queue with the reason, then deleted. A crash in between duplicates the dead letter and
      loses nothing.
    - It raises `Unavailable`: the message is kept and tried again in place, so that an outage costs it none
      of its receives. The worker is occupied meanwhile, which slows polling down; that is intended.
    - Its lease is lost: nothing, the queue delivers the message to another consumer.
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
        in_order = is_fifo(queues.queue.name)
        self._queue = queues.queue
        self._dead_letters = queues.dead_letters
        self._binding = binding
        timeout = options.handler_timeout
        self._handle = handle if timeout is None else _limited(handle, timeout)
        self._options = options
        self._max_receive_count = queues.max_receive_count
        self._threads = threads
        self._observer = observer
        self._leases = LeaseKeeper(queues.queue, queues.visibility, options.max_lease_extension)
        self._acknowledger = Acknowledger(
            queues.queue, self._leases, linger=0 if in_order else 0.1, on_recovery=self._notify_capacity
        )
        self._pending = PendingMessages(is_fifo=in_order)
        self._idle = options.max_concurrency
        self._expected = 0
        self._capacity = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """Number of running handlers."""
        return self._options.max_concurrency - self._idle

    @property
    def buffered(self) -> int:
        """Number of received messages that wait for a worker."""
        return len(self._pending)

    @property
    def is_blocked(self) -> bool:
        """True while handled messages cannot be deleted, so that no more are received."""
        return self._acknowledger.is_blocked

    @property
    def oldest_message_age(self) -> float | None:
        """Seconds since the oldest message was sent whose lease is held; None if there is none."""
        return self._leases.oldest_message_age

    @asynccontextmanager
    async def reserve_capacity(self) -> AsyncIterator[None]:
        """Wait until all pending and expected messages have an idle worker, and reserve capacity for one
        receive call. So one call is ahead when all workers are busy, and several when many are idle."""
        while not self._has_capacity:
            self._capacity.clear()
            await self._capacity.wait()
        self._expected += MAX_BATCH_SIZE
        try:
            yield
        finally:
            self._expected -= MAX_BATCH_SIZE
            self._notify_capacity()

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

    @property
    def _has_capacity(self) -> bool:
        return not self.is_blocked and len(self._pending) + self._expected <= self._idle

    def _notify_capacity(self) -> None:
        if self._has_capacity:
            self._capacity.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the workers while the body runs. At its end pending messages are requeued, running handlers
        may finish within `shutdown_timeout`, after which they are cancelled and threads are abandoned, and
        acknowledgements are flushed."""
        async with self._leases.extending(), self._acknowledger.deleting():
            with suppress(TimeoutError):
                async with asyncio.timeout(None) as shutdown, asyncio.TaskGroup() as workers:
                    for _ in range(self._options.max_concurrency):
                        workers.create_task(self._work())
                    try:
                        yield
                    except BaseException:
                        self._threads.abandon()
                        raise
                    deadline = asyncio.get_running_loop().time() + self._options.shutdown_timeout
                    self._threads.abandon_at(deadline)
                    shutdown.reschedule(deadline)
                    self.close()
                    await self._leases.requeue(_leases(self._pending.drain()), delay=0)
            self._threads.abandon()

    def close(self) -> None:
        """Start no more handlers."""
        self._pending.close(self._options.max_concurrency)

    async def _work(self) -> None:
        while (batch := await self._pending.pop_group()) is not None:
            self._idle -= 1
            await self._process(batch)
            self._pending.release(batch[0])
            self._idle += 1
            self._notify_capacity()

    async def _process(self, batch: Sequence[Incoming]) -> None:
        """Handle messages of one handler, and settle them."""
        first = batch[0]
        # Not reset afterwards: a worker is a task, which sets it again for its next messages.
        current_message.set(first.message)
        if first.error is not None:
            await self._reject(first, first.error)
            return
        acknowledgement = Acknowledgement(self._acknowledger, _leases(batch))
        delivery = _delivery(batch, self._queue.name, acknowledgement)
        try:
            async with held(_leases(batch)):
                await self._handle_when_available(delivery)
            failures = delivery.resources.get(BatchFailures)
            if isinstance(failures, BatchFailures) and failures.errors:
                await self._on_partial_failure(batch, delivery.outcomes, failures.errors)
            else:
                await self._on_success(batch, acknowledgement, delivery.outcomes)
        except LeaseLost as error:
            await self._on_lease_lost(batch, error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # This task was not cancelled: the handler awaited something that was.
            await self._on_failure(batch, acknowledgement, error)
        except Exception as error:
            await self._on_failure(batch, acknowledgement, error)

    async def _handle_when_available(self, delivery: Delivery) -> None:
        """Call the handler until it does not raise Unavailable, or raise that after `max_unavailable`."""
        now = asyncio.get_running_loop().time
        deadline, failures = now() + self._options.max_unavailable, 0
        while True:
            try:
                return await self._handle(delivery)
            except Unavailable as error:
                failures += 1
                pause = full_jitter(failures, base=1, cap=10, floor=0.5)
                if now() + pause > deadline:
                    raise
                about = {"error": str(error), "retry_in": round(pause, 1)}
                log.warning("handler waits for a dependency", extra=about)
            await asyncio.sleep(pause)

    async def _on_success(
        self, batch: Sequence[Incoming], acknowledgement: Acknowledgement, outcomes: Mapping[str, str]
    ) -> None:
        if not self._options.manual_ack:
            await acknowledgement.acknowledge()
        for incoming in batch:
            if acknowledgement.is_acknowledged:
                self._record_outcome(incoming, outcomes.get(incoming.message.id, "handled"))
            else:
                self._record_outcome(incoming, "not_acknowledged")
                self._leases.release(incoming.lease)

    async def _on_partial_failure(
        self, batch: Sequence[Incoming], outcomes: Mapping[str, str], errors: Mapping[str, Exception]
    ) -> None:
        handled = [incoming for incoming in batch if incoming.message.id not in errors]
        await self._on_success(handled, Acknowledgement(self._acknowledger, _leases(handled)), outcomes)
        for incoming in batch:
            if (error := errors.get(incoming.message.id)) is not None:
                await self._fail(incoming, error)

    async def _on_lease_lost(self, batch: Sequence[Incoming], error: LeaseLost) -> None:
        log.warning("lease lost, handler cancelled", extra={"error": str(error)})
        _metrics.leases_lost[self._queue.name] += len(batch)
        for incoming in batch:
            self._record_outcome(incoming, "lease_lost", error)
            self._leases.release(incoming.lease)
        followers = self._pending.drain_group(batch[0])
        await self._leases.requeue(_leases(followers), delay=0)

    async def _on_failure(
        self, batch: Sequence[Incoming], acknowledgement: Acknowledgement, error: BaseException
    ) -> None:
        if acknowledgement.is_acknowledged:
            log.error("handler failed after it acknowledged", exc_info=error)
        elif isinstance(error, RetryAfter):
            for incoming in batch:
                await self._retry(incoming, error)
        elif len(batch) > 1:
            about = {"count": len(batch), "error": repr(error)}
            log.warning("batch failed, its messages are handled one by one", extra=about)
            self._pending.split(batch)
        else:
            await self._fail(batch[0], error)

    async def _fail(self, incoming: Incoming, error: BaseException) -> None:
        if isinstance(error, TerminalError):
            await self._dead_letter(incoming, error)
        else:
            await self._retry(incoming, error)

    async def _reject(self, incoming: Incoming, error: MessagingError) -> None:
        """Settle a message that has no handler: its type is unknown, or it cannot be decoded."""
        if incoming.policy == "dead-letter":
            await self._dead_letter(incoming, error)
        elif incoming.policy == "fail":
            await self._retry(incoming, error)
        else:
            log.debug("ignored", extra={"error": str(error)})
            self._record_outcome(incoming, "ignored", error)
            await self._acknowledger.acknowledge(incoming.lease)

    async def _retry(self, incoming: Incoming, error: BaseException) -> None:
        receive_count = incoming.received.receive_count
        if receive_count >= self._max_receive_count:
            await self._dead_letter(incoming, error)
            return
        if isinstance(error, RetryAfter):
            delay: float = error.seconds
            log.info(
                "handler postponed a message", extra={"receive_count": receive_count, "error": str(error)}
            )
        else:
            delay = self._backoff(receive_count)
            about = {"receive_count": receive_count, "retry_in": round(delay, 1)}
            log.warning("handler failed", exc_info=error, extra=about)
        self._record_outcome(incoming, "failed", error)
        await self._requeue(incoming, delay)

    async def _dead_letter(self, incoming: Incoming, error: BaseException) -> None:
        received, dead_letters = incoming.received, self._dead_letters
        attributes = dead_letter_attributes(received, error, queue=self._queue.name)
        try:
            await dead_letters.send(
                received.body, attributes, group=received.group, deduplication=received.message_id
            )
        except transient_errors():
            await self._requeue(incoming, self._backoff(received.receive_count))
            return
        about = {"queue": dead_letters.name, "message_id": received.message_id, "reason": _reason(error)}
        log.error("dead letter", extra=about)
        self._record_outcome(incoming, "dead_letter", error)
        await self._acknowledger.acknowledge(incoming.lease)

    async def _requeue(self, incoming: Incoming, delay: float) -> None:
        followers = self._pending.drain_group(incoming)
        await self._leases.requeue(_leases([incoming, *followers]), delay=delay)

    def _backoff(self, receive_count: int) -> float:
        options = self._options
        if options.backoff is not None:
            try:
                return min(max(0, math.ceil(options.backoff(receive_count))), MAX_VISIBILITY)
            except Exception as error:
                log.error("backoff failed, the default is used", exc_info=error)
        return full_jitter(receive_count, base=options.min_backoff, cap=options.max_backoff, floor=1)

    def _record_outcome(self, incoming: Incoming, outcome: str, error: BaseException | None = None) -> None:
        count_outcome(self._queue.name, outcome)
        if self._observer is None:
            return
        message, received, handler = incoming.message, incoming.received, incoming.handler
        self._observer(
            MessageOutcome(
                self._queue.name,
                message.id,
                message.type,
                message.subject,
                handler.name if handler else None,
                outcome,
                _reason(error) if error else None,
                received.receive_count,
                received.received_at,
                datetime.now(UTC),
            )
        )


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


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _leases(batch: Sequence[Incoming]) -> list[Lease]:
    return [incoming.lease for incoming in batch]


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
