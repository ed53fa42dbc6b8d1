"""SNS and SQS in memory, for tests: standard and FIFO queues, redrive, filters, seeded faults.

It really encodes, leases, redelivers and reorders. Run it on the virtual clock, and hours of backing off
take milliseconds:

    async def test() -> None:
        async with MemoryBroker() as broker:
            broker.listen(on_order_completed)
            await broker.topic("order-events").send([message])
            await broker.drain()

    run_on_virtual_clock(test())
"""

from shared.messaging.memory._broker import MemoryBroker, MemoryTopic
from shared.messaging.memory._clock import NothingWillHappen, VirtualClockLoop, run_on_virtual_clock
from shared.messaging.memory._faults import Faults
from shared.messaging.memory._queue import MemoryQueue

__all__ = [
    "Faults",
    "MemoryBroker",
    "MemoryQueue",
    "MemoryTopic",
    "NothingWillHappen",
    "VirtualClockLoop",
    "run_on_virtual_clock",
]
