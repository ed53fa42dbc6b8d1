"""Consumer: works through received messages and settles what becomes of each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import stamina
import structlog
from structlog.contextvars import bound_contextvars

from shared.messaging.acknowledgement import Acknowledger
from shared.messaging.aws import TRANSIENT
from shared.messaging.backoff import full_jitter
from shared.messaging.converter import MessageConverter
from shared.messaging.dead_letter import dead_letter_attributes
from shared.messaging.errors import LeaseLost, TerminalError, Unavailable
from shared.messaging.handler import Delivery, MessageHandler
from shared.messaging.lease import Lease, LeaseKeeper
from shared.messaging.message import ID, Message
from shared.messaging.sqs import Received
from shared.messaging.topology import ListenerQueues

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ConsumerOptions:
    """How received messages are worked on; the times are seconds."""

    in_flight: int = 10
    """Handlers that run at once."""
    drain: float = 15.0
    """How long stopping waits for handlers; acknowledgements get 5 seconds more."""
    retry_most: float = 15 * 60
    """The longest wait before a failed message is received again."""
    unavailable_most: float = 5 * 60
    """How long a message is kept for something that is away, before it is given back like a failed one."""


class Consumer:
    """At most `in_flight` handlers at once, and what one receive call brought waits behind them.

    What becomes of a message:

    - the handler returned: it is deleted;
    - `TerminalError`, or any error at the last permitted receive: it goes to the dead-letter queue with
      the reason, and is deleted after that was taken. Dying between the two doubles it there, never loses it;
    - `Unavailable`: it is kept, and tried again in place, because no fault of the message should cost it
      one of its few receives. Meanwhile its slot is taken, so less is received: that is intended;
    - `LeaseLost`: nothing, somebody else has it;
    - any other error: it is given back with a visibility that grows with its receive count, full jitter.
    """

    def __init__(
        self,
        queues: ListenerQueues,
        handle: MessageHandler,
        options: ConsumerOptions,
        *,
        visibility: int,
        max_receive_count: int,
    ) -> None:
        self._queues = queues
        self._handle = handle
        self._options = options
        self._max_receive_count = max_receive_count
        self._converter = MessageConverter()
        self._leases = LeaseKeeper(queues.queue, visibility)
        self._acknowledger = Acknowledger(queues.queue, self._leases)
        self._buffer: asyncio.Queue[Lease | None] = asyncio.Queue()
        self._all_taken_up = asyncio.Event()
        self._all_taken_up.set()

    async def has_room(self) -> None:
        """Returns when nothing is buffered, so that a full receive call may follow."""
        await self._all_taken_up.wait()

    def take(self, received: Received) -> None:
        """Buffers a message; its lease is kept from now on."""
        self._all_taken_up.clear()
        self._buffer.put_nowait(self._leases.hold(received))

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Works until its body ends, then drains: what has not begun goes back to the queue, what runs
        may finish, acknowledgements are sent."""
        async with self._leases.keeping(), self._acknowledger.deleting():
            with suppress(TimeoutError):
                async with asyncio.timeout(None) as drain, asyncio.TaskGroup() as workers:
                    for _ in range(self._options.in_flight):
                        workers.create_task(self._work())
                    yield
                    drain.reschedule(asyncio.get_running_loop().time() + self._options.drain)
                    await self._give_back_what_has_not_begun()

    async def _work(self) -> None:
        while (lease := await self._next()) is not None:
            await self._settle(lease)

    async def _next(self) -> Lease | None:
        lease = await self._buffer.get()
        if self._buffer.empty():
            self._all_taken_up.set()
        return lease

    async def _give_back_what_has_not_begun(self) -> None:
        waiting = [lease for _ in range(self._buffer.qsize()) if (lease := self._buffer.get_nowait())]
        for _ in range(self._options.in_flight):
            self._buffer.put_nowait(None)
        await self._leases.give_back(waiting, seconds=0)

    async def _settle(self, lease: Lease) -> None:
        received = lease.received
        try:
            message = self._converter.to_message(received.body, received.attributes)
            if not message.id:
                message = message.copy(headers={ID: received.message_id})
            with bound_contextvars(event_id=message.id, event_type=message.type, order_id=message.subject):
                await self._try_to_handle(lease, message)
        except TerminalError as error:
            await self._dead_letter(lease, error)

    async def _try_to_handle(self, lease: Lease, message: Message[str]) -> None:
        received = lease.received
        delivery = Delivery(message, self._queues.queue.name, received.receive_count, received.received_at)
        try:
            async with lease.held():
                await self._handle_when_available(delivery)
        except TerminalError:
            raise
        except LeaseLost as error:
            self._leases.let_go(lease)
            log.warning("lease lost, handler cancelled", error=str(error))
        except Exception as error:
            await self._failed(lease, error)
        else:
            await self._acknowledger.acknowledge(lease)

    async def _handle_when_available(self, delivery: Delivery) -> None:
        async for attempt in stamina.retry_context(
            on=Unavailable,
            attempts=None,
            timeout=self._options.unavailable_most,
            wait_initial=0.5,
            wait_max=10,
        ):
            with attempt:
                await self._handle(delivery)

    async def _failed(self, lease: Lease, error: Exception) -> None:
        count = lease.received.receive_count
        if count >= self._max_receive_count:
            await self._dead_letter(lease, error)
            return
        wait = self._retry_wait(count)
        log.warning(
            "handler failed", error=repr(error), receive_count=count, retry_in=round(wait, 1), exc_info=error
        )
        await self._leases.give_back([lease], seconds=wait)

    def _retry_wait(self, receive_count: int) -> float:
        return full_jitter(receive_count, first=2, most=self._options.retry_most, least=1)

    async def _dead_letter(self, lease: Lease, error: Exception) -> None:
        received = lease.received
        attributes = dead_letter_attributes(received, error, queue=self._queues.queue.name)
        try:
            await self._queues.dead_letters.send(received.body, attributes)
        except TRANSIENT as failure:
            log.warning("dead letter not sent, the message stays", error=str(failure))
            await self._leases.give_back([lease], seconds=self._retry_wait(received.receive_count))
            return
        log.error(
            "dead letter",
            queue=self._queues.dead_letters.name,
            message_id=received.message_id,
            reason=f"{type(error).__name__}: {error}",
        )
        await self._acknowledger.acknowledge(lease)
