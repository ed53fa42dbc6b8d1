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

from snsqs.testing._broker import MemoryBroker, MemoryTopic
from snsqs.testing._clock import NothingWillHappen, VirtualClockLoop, run_on_virtual_clock
from snsqs.testing._faults import Faults
from snsqs.testing._queue import MemoryQueue

__all__ = [
    "Faults",
    "MemoryBroker",
    "MemoryQueue",
    "MemoryTopic",
    "NothingWillHappen",
    "VirtualClockLoop",
    "run_on_virtual_clock",
]
