"""SNS and SQS in memory, for tests: standard and FIFO queues, redrive, filters, seeded faults.

The broker encodes, filters, leases, redelivers and dead-letters, and runs the real listeners. On the
virtual clock hours of backoff take milliseconds:

    from snsqs import Aggregate, DomainEvent, sqs_listener
    from snsqs.testing import MemoryBroker, run_on_virtual_clock

    class OrderCompleted(DomainEvent): ...

    handled = []

    @sqs_listener("billing-order-event-queue", topic="order-events")
    async def on_order_completed(event: OrderCompleted) -> None:
        handled.append(event.source.id)

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(on_order_completed)
            event = OrderCompleted(source=Aggregate(id="1", version=1))
            await broker.publish(event)
            await broker.join()
            assert broker.handled(OrderCompleted) == [event]

    def test_orders_are_billed() -> None:
        run_on_virtual_clock(scenario())
        assert handled == ["1"]
"""

from snsqs._dispatch import message_handler
from snsqs.testing._broker import MemoryBroker
from snsqs.testing._channels import MemoryQueueChannel, MemoryTopic
from snsqs.testing._clock import NoProgress, VirtualClockLoop, run_on_virtual_clock
from snsqs.testing._faults import Faults
from snsqs.testing._outbox import OutboxRelay
from snsqs.testing._queue import MemoryQueue
from snsqs.testing._record import DeadLetter

__all__ = [
    "DeadLetter",
    "Faults",
    "MemoryBroker",
    "MemoryQueue",
    "MemoryQueueChannel",
    "MemoryTopic",
    "NoProgress",
    "OutboxRelay",
    "VirtualClockLoop",
    "message_handler",
    "run_on_virtual_clock",
]
