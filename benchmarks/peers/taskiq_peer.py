"""taskiq with its SQS broker.

`python -m benchmarks.peers.taskiq_peer send | work`
"""

import asyncio
import sys
from typing import Any

from taskiq.api import run_receiver_task
from taskiq_aio_sqs import SQSBroker

from benchmarks.peers.tally import EVENT, MESSAGES, QUEUE, URL, Tally

tally = Tally()

broker = SQSBroker(
    QUEUE,
    endpoint_url=URL,
    region_name="us-east-1",
    wait_time_seconds=1,
    max_number_of_messages=10,
)


@broker.task  # type: ignore[untyped-decorator]
async def measured(event: dict[str, Any]) -> None:
    tally.handled()


async def send() -> None:
    await broker.startup()
    for _ in range(MESSAGES // 10):
        await asyncio.gather(*(measured.kiq(EVENT) for _ in range(10)))
    await broker.shutdown()


async def work() -> None:
    await run_receiver_task(broker, run_startup=True, max_async_tasks=10)


if __name__ == "__main__":
    asyncio.run(send() if sys.argv[1] == "send" else work())
