"""Settlement: what becomes of a message once its handler has ended, one way or the other."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

from snsqs._acknowledgement import Acknowledgement, Acknowledger
from snsqs._dead_letter import dead_letter_attributes
from snsqs._errors import LeaseLost, MessagingError, TerminalError, Unavailable, UnknownType
from snsqs._handler import Delivery, MessageHandler
from snsqs._incoming import Incoming
from snsqs._lease import LeaseKeeper, held
from snsqs._message import current_message
from snsqs._queue import ListenerQueues
from snsqs._settled import MessageOutcome, OutcomeObserver
from snsqs.aws import transient_errors
from snsqs.backoff import full_jitter

log = logging.getLogger(__name__)

_settled: Counter[tuple[str, str]] = Counter()
"""MessageOutcome messages of this process by queue and outcome."""


def _observe_settled(_: CallbackOptions) -> Iterator[Observation]:
    for (queue, outcome), count in list(_settled.items()):  # a reader may call from its own thread
        yield Observation(count, {"queue": queue, "outcome": outcome})


# Observed when it is collected: the SDK's `Counter.add` takes as long as 2 % of a message.
get_meter("snsqs").create_observable_counter(
    "messages_settled", [_observe_settled], description="Messages by queue and outcome."
)


@dataclass(frozen=True)
class SettlementOptions:
    """The times are seconds."""

    min_backoff: float = 2.0
    """The longest wait before the second receive of a failed message; it doubles with each one."""
    max_backoff: float = 15 * 60
    """The longest wait of all."""
    max_unavailable: float = 5 * 60
    """How long a message is kept for something that is away, before it is given back like a failed one."""
    manual_ack: bool = False
    """Whether handlers acknowledge by themselves; returning is not enough then."""
    unknown_types: Literal["dead-letter", "ignore", "fail"] = "dead-letter"
    """What becomes of a message whose type has no handler: `ignore` deletes it, `fail` tries again, for a
    queue whose consumers are not all of the same version."""


class Settlement:
    """Runs the handler, and settles its messages.

    - The handler returned: they are deleted (unless acknowledging is manual, and it did not).
    - `TerminalError`, or any error at the last permitted receive: dead-letter queue with the reason, then
      deleted. Dying between the two doubles the dead letter, never loses it.
    - `Unavailable`: kept and tried again in place, because no fault of the message should cost it one of
      its few receives. Its slot is taken meanwhile, so less is received: that is intended.
    - `LeaseLost`: nothing, somebody else has it.
    - Any other error: given back with a visibility that grows with its receive count, full jitter.

    When a batch fails, its messages are handled again one by one, so that only the one to blame fails.
    """

    def __init__(
        self,
        queues: ListenerQueues,
        handle: MessageHandler,
        leases: LeaseKeeper,
        acknowledger: Acknowledger,
        options: SettlementOptions,
        *,
        max_receive_count: int,
        observer: OutcomeObserver | None = None,
    ) -> None:
        self._queues = queues
        self._handle = handle
        self._leases = leases
        self._acknowledger = acknowledger
        self._options = options
        self._max_receive_count = max_receive_count
        self._observer = observer

    async def settle(self, batch: Sequence[Incoming]) -> float | None:
        """Handles the messages, which have one handler. Returns None when that is done with, or after how
        many seconds a message of them comes again."""
        # Not reset at the end: this worker, which is a task, sets it again for its next messages.
        current_message.set(batch[0].message)
        if batch[0].error is not None:
            return await self._unreadable(batch[0], batch[0].error)
        return await self._handled_or_not(batch)

    async def _handled_or_not(self, batch: Sequence[Incoming]) -> float | None:
        acknowledgement = Acknowledgement(self._acknowledger, [incoming.lease for incoming in batch])
        try:
            await self._run(batch, acknowledgement)
        except LeaseLost as error:
            return self._lost(batch, error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled us: the handler awaited something that was cancelled elsewhere.
            return await self._not_handled(batch, acknowledgement, error)
        except Exception as error:
            return await self._not_handled(batch, acknowledgement, error)
        return None

    async def _not_handled(
        self, batch: Sequence[Incoming], acknowledgement: Acknowledgement, error: BaseException
    ) -> float | None:
        if acknowledgement.given:
            log.error("handler failed after it acknowledged", exc_info=error)
            return None
        if len(batch) > 1:
            return await self._one_by_one(batch, error)
        return await self._failed(batch[0], error)

    async def _run(self, batch: Sequence[Incoming], acknowledgement: Acknowledgement) -> None:
        delivery = _delivery(batch, self._queues.queue.name, acknowledgement)
        async with held([incoming.lease for incoming in batch]):
            await self._handle_when_available(delivery)
        await self._handled(batch, acknowledgement, delivery.outcomes)

    async def _handle_when_available(self, delivery: Delivery) -> None:
        """Waits for what is away, in place. Raises Unavailable when that has taken too long."""
        now = asyncio.get_running_loop().time
        tired_at, failures = now() + self._options.max_unavailable, 0
        while True:
            try:
                return await self._handle(delivery)
            except Unavailable as error:
                failures += 1
                pause = full_jitter(failures, base=1, cap=10, floor=0.5)
                if now() + pause > tired_at:
                    raise
                about = {"error": str(error), "retry_in": round(pause, 1)}
                log.warning("waiting for what is away", extra=about)
            await asyncio.sleep(pause)

    async def _handled(
        self, batch: Sequence[Incoming], acknowledgement: Acknowledgement, outcomes: Mapping[str, str]
    ) -> None:
        if not self._options.manual_ack:
            await acknowledgement.acknowledge()
        elif not acknowledgement.given:
            for incoming in batch:
                self._tell(incoming, "not_acknowledged")
                self._leases.release(incoming.lease)
            return
        for incoming in batch:
            self._tell(incoming, outcomes.get(incoming.message.id, "handled"))

    async def _one_by_one(self, batch: Sequence[Incoming], error: BaseException) -> float | None:
        about = {"count": len(batch), "error": repr(error)}
        log.warning("batch failed, its messages are handled one by one", extra=about)
        again: float | None = None
        for place, incoming in enumerate(batch):
            seconds = await self.settle([incoming])
            if seconds is None:
                continue
            again = seconds
            if incoming.received.group is not None:  # what follows in its group must not overtake it
                await self._leases.requeue([later.lease for later in batch[place + 1 :]], seconds=seconds)
                break
        return again

    def _lost(self, batch: Sequence[Incoming], error: LeaseLost) -> float | None:
        log.warning("lease lost, handler cancelled", extra={"error": str(error)})
        for incoming in batch:
            self._tell(incoming, "lease_lost", error)
            self._leases.release(incoming.lease)
        return 0.0

    async def _unreadable(self, incoming: Incoming, error: MessagingError) -> float | None:
        """No handler can be given it: its type is unknown, or it is not a message at all."""
        if not isinstance(error, UnknownType) or self._options.unknown_types == "dead-letter":
            return await self._dead_letter(incoming, error)
        if self._options.unknown_types == "fail":
            return await self._retry(incoming, error)
        log.debug("ignored", extra={"error": str(error)})
        self._tell(incoming, "ignored", error)
        await self._acknowledger.acknowledge(incoming.lease)
        return None

    async def _failed(self, incoming: Incoming, error: BaseException) -> float | None:
        if isinstance(error, TerminalError):
            return await self._dead_letter(incoming, error)
        return await self._retry(incoming, error)

    async def _retry(self, incoming: Incoming, error: BaseException) -> float | None:
        count = incoming.received.receive_count
        if count >= self._max_receive_count:
            return await self._dead_letter(incoming, error)
        wait = self._retry_wait(count)
        about = {"receive_count": count, "retry_in": round(wait, 1)}
        log.warning("handler failed", exc_info=error, extra=about)
        self._tell(incoming, "failed", error)
        await self._leases.requeue([incoming.lease], seconds=wait)
        return wait

    async def _dead_letter(self, incoming: Incoming, error: BaseException) -> float | None:
        received, dead_letters = incoming.received, self._queues.dead_letters
        attributes = dead_letter_attributes(received, error, queue=self._queues.queue.name)
        try:
            await dead_letters.send(
                received.body, attributes, group=received.group, deduplication=received.message_id
            )
        except transient_errors() as failure:
            log.warning("dead letter not sent, the message stays", extra={"error": str(failure)})
            wait = self._retry_wait(received.receive_count)
            await self._leases.requeue([incoming.lease], seconds=wait)
            return wait
        about = {"queue": dead_letters.name, "message_id": received.message_id, "reason": _reason(error)}
        log.error("dead letter", extra=about)
        self._tell(incoming, "dead_letter", error)
        await self._acknowledger.acknowledge(incoming.lease)
        return None

    def _retry_wait(self, receive_count: int) -> float:
        options = self._options
        return full_jitter(receive_count, base=options.min_backoff, cap=options.max_backoff, floor=1)

    def _tell(self, incoming: Incoming, outcome: str, error: BaseException | None = None) -> None:
        _settled[self._queues.queue.name, outcome.replace("_", " ")] += 1
        if self._observer is None:
            return
        message, received, handler = incoming.message, incoming.received, incoming.handler
        self._observer(
            MessageOutcome(
                self._queues.queue.name,
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


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _delivery(batch: Sequence[Incoming], queue: str, acknowledgement: Acknowledgement) -> Delivery:
    first, *others = batch
    return Delivery(
        first.message,
        queue,
        max(incoming.received.receive_count for incoming in batch),
        first.received.received_at,
        others=tuple(incoming.message for incoming in others),
        lease=first.lease if not others else None,
        acknowledgement=acknowledgement,
        handler=first.handler.name if first.handler else "",
    )
