"""Settlement: acknowledges, requeues or dead-letters messages after their handler, and reports outcomes."""

import logging
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from snsqs import _metrics
from snsqs._acknowledgement import Acknowledgement, Acknowledger
from snsqs._dead_letter import dead_letter_attributes
from snsqs._errors import (
    MAX_VISIBILITY,
    HandlerFailed,
    LeaseLost,
    MessagingError,
    RetryAfter,
    TerminalError,
    error_reason,
    error_text,
)
from snsqs._lease import LeaseKeeper
from snsqs._options import ListenerOptions
from snsqs._outcome import MessageOutcome, OutcomeObserver, count_outcome
from snsqs._pending import Incoming, PendingMessages, leases_of
from snsqs._queue import ListenerQueues
from snsqs._running_handlers import RunningHandlers
from snsqs.aws import transient_errors
from snsqs.backoff import full_jitter

log = logging.getLogger(__name__)


class Settlement:
    """Ends the deliveries of one consumer. Every message gets one outcome per delivery."""

    def __init__(
        self,
        queues: ListenerQueues,
        options: ListenerOptions,
        leases: LeaseKeeper,
        acknowledger: Acknowledger,
        pending: PendingMessages,
        running: RunningHandlers,
        observer: OutcomeObserver | None,
    ) -> None:
        self._queue = queues.queue
        self._dead_letters = queues.dead_letters
        self._max_receive_count = queues.max_receive_count
        self._options = options
        self._leases = leases
        self._acknowledger = acknowledger
        self._pending = pending
        self._running = running
        self._observer = observer

    async def succeed(
        self, batch: Sequence[Incoming], acknowledgement: Acknowledgement, outcomes: Mapping[str, str]
    ) -> None:
        """Settle messages whose handler returned. With manual acknowledgement the handler has acknowledged
        them, or not; messages that it did not receive are acknowledged."""
        for incoming in batch:
            outcome, lease = outcomes.get(incoming.message.id, "filtered"), incoming.lease
            if outcome == "handled" and self._options.manual_ack and not acknowledgement.is_acknowledged:
                self._leases.release(lease)
                self._record(incoming, "not_acknowledged")
                continue
            if not lease.is_detached:
                await self._acknowledger.acknowledge(lease)
            self._record(incoming, outcome)

    async def succeed_partly(
        self, batch: Sequence[Incoming], outcomes: Mapping[str, str], errors: Mapping[str, BaseException]
    ) -> None:
        """Settle messages of a batch whose handler reported some as failed."""
        handled = [incoming for incoming in batch if incoming.message.id not in errors]
        await self.succeed(handled, Acknowledgement(self._acknowledger, leases_of(handled)), outcomes)
        for incoming in batch:
            if (error := errors.get(incoming.message.id)) is not None:
                await self._fail(incoming, error)

    async def fail(
        self, batch: Sequence[Incoming], acknowledgement: Acknowledgement, error: BaseException
    ) -> None:
        """Settle messages whose handler raised an error."""
        if isinstance(error, HandlerFailed):
            self._running.report(f"handler failed with {error_text(error)}")
        if acknowledgement.is_acknowledged:
            log.error("handler failed after it acknowledged", exc_info=error)
            self._running.report(f"handler failed after it acknowledged: {error_reason(error)}")
            for incoming in batch:
                self._record(incoming, "failed_after_acknowledgement", error)
        elif isinstance(error, RetryAfter):
            for incoming in batch:
                await self._retry(incoming, error)
        elif len(batch) > 1:
            about = {"count": len(batch), "error": error_reason(error)}
            log.warning("batch failed, its messages are handled one by one", extra=about)
            self._pending.split(batch)
        else:
            await self._fail(batch[0], error)

    async def lose(self, batch: Sequence[Incoming], error: LeaseLost) -> None:
        """Leave messages whose lease was lost to the queue, which delivers them again."""
        log.warning("lease lost", extra={"error": error_text(error), "count": len(batch)})
        self._running.report(f"leases lost: {error_text(error)}")
        _metrics.leases_lost[self._queue.name] += len(batch)
        for incoming in batch:
            self._record(incoming, "lease_lost", error)
            self._leases.release(incoming.lease)
        followers = self._pending.drain_group(batch[0])
        await self._leases.requeue(leases_of(followers), delay=0)

    async def reject(self, incoming: Incoming, error: MessagingError) -> None:
        """Settle a message that has no handler: its type is unknown, or it cannot be decoded."""
        if incoming.policy == "dead-letter":
            await self._dead_letter(incoming, error)
        elif incoming.policy == "fail":
            await self._retry(incoming, error)
        else:
            log.debug("ignored", extra={"error": error_text(error)})
            await self._acknowledger.acknowledge(incoming.lease)
            self._record(incoming, "ignored", error)

    def cancel(self, batch: Sequence[Incoming]) -> None:
        """Report messages whose handler was cancelled because the listener ends. They are requeued."""
        for incoming in batch:
            self._record(incoming, "cancelled")

    def abandon(self, batch: Sequence[Incoming], error: Exception) -> None:
        """Leave messages that could not be settled to their visibility timeout."""
        log.critical("message not settled, it is delivered again", exc_info=error)
        self._running.report(f"message not settled: {error_reason(error)}")
        for incoming in [*batch, *self._pending.drain_group(batch[0])]:
            self._leases.release(incoming.lease)
        for incoming in batch:
            self._record(incoming, "failed", error)

    async def _fail(self, incoming: Incoming, error: BaseException) -> None:
        if isinstance(error, TerminalError):
            await self._dead_letter(incoming, error)
        else:
            await self._retry(incoming, error)

    async def _retry(self, incoming: Incoming, error: BaseException) -> None:
        receive_count = incoming.received.receive_count
        if receive_count >= self._max_receive_count:
            await self._dead_letter(incoming, error)
            return
        if isinstance(error, RetryAfter):
            delay: float = error.seconds
            about = {"receive_count": receive_count, "error": error_text(error)}
            log.info("handler postponed a message", extra=about)
        else:
            delay = self._backoff(receive_count)
            about = {"receive_count": receive_count, "retry_in": round(delay, 1)}
            log.warning("handler failed", exc_info=error, extra=about)
        self._record(incoming, "failed", error)
        await self._requeue(incoming, delay)

    async def _dead_letter(self, incoming: Incoming, error: BaseException) -> None:
        received, dead_letters = incoming.received, self._dead_letters
        attributes = dead_letter_attributes(received, error, queue=self._queue.name)
        try:
            await dead_letters.send(
                received.body, attributes, group=received.group, deduplication=received.message_id
            )
        except transient_errors():
            self._record(incoming, "failed", error)
            await self._requeue(incoming, self._backoff(received.receive_count))
            return
        log.error(
            "dead letter",
            extra={
                "queue": dead_letters.name,
                "message_id": received.message_id,
                "reason": error_reason(error),
            },
        )
        await self._acknowledger.acknowledge(incoming.lease)
        self._record(incoming, "dead_letter", error)

    async def _requeue(self, incoming: Incoming, delay: float) -> None:
        followers = self._pending.drain_group(incoming)
        await self._leases.requeue(leases_of([incoming, *followers]), delay=delay)

    def _backoff(self, receive_count: int) -> float:
        options = self._options
        if options.backoff is not None:
            try:
                return min(max(0, math.ceil(options.backoff(receive_count))), MAX_VISIBILITY)
            except BaseException as error:  # the application's own code
                log.error("backoff failed, the default is used", exc_info=error)
                self._running.report(f"backoff failed: {error_reason(error)}")
        return full_jitter(receive_count, base=options.min_backoff, cap=options.max_backoff, floor=1)

    def _record(self, incoming: Incoming, outcome: str, error: BaseException | None = None) -> None:
        count_outcome(self._queue.name, outcome)
        if self._observer is None:
            return
        message, received, handler = incoming.message, incoming.received, incoming.handler
        settled = MessageOutcome(
            self._queue.name,
            message.id,
            message.type,
            message.subject,
            handler.name if handler else None,
            outcome,
            None if error is None else error_reason(error),
            received.receive_count,
            received.received_at,
            datetime.now(UTC),
        )
        try:
            self._observer(settled)
        except BaseException as failure:  # the application's own code
            log.error("observer failed", exc_info=failure)
            self._running.report(f"observer failed: {error_reason(failure)}")
