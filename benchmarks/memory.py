"""Memory of a listener after many messages, compared with its memory at the start."""

import asyncio

import psutil
from snsqs import (
    ListenerContainer,
    ListenerOptions,
    SqsChannel,
    Topology,
    aws_clients,
    bindings,
    sqs_listener,
)

from benchmarks.child import in_child
from benchmarks.event import QUEUE, REGION, TOPIC, Measured, message
from benchmarks.figure import Figure
from benchmarks.server import aws_server, fill

EARLY, LATE = 10_000, 100_000
_BACKLOG = 2_000
"""Messages that wait; the local server is slower with many."""


async def ours(url: str) -> dict[str, float]:
    handled, late = 0, asyncio.Event()
    megabytes: dict[str, float] = {}

    def resident() -> float:
        return psutil.Process().memory_info().rss / 1024**2

    @sqs_listener(QUEUE, topic=TOPIC)
    async def handler(event: Measured) -> None:
        nonlocal handled
        handled += 1
        if handled == EARLY:
            megabytes["early"] = resident()
        elif handled == LATE:
            megabytes["late"] = resident()
            late.set()

    async with aws_clients(region=REGION, endpoint_url=url) as clients:
        [binding] = bindings([handler])
        options = ListenerOptions(max_concurrency=50)
        listener = ListenerContainer(Topology(clients, create=True), binding, options=options)
        await listener.prepare()
        running = asyncio.create_task(listener.run())
        await late.wait()
        listener.stop()
        await running
        return megabytes


async def memory() -> list[Figure]:
    async with aws_server() as url:
        await fill(url, 0)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(_keep_sending(url))
            measured = await in_child(ours, url=url)
            sending.cancel()
        return [
            Figure(
                f"listener: memory after {LATE:,} messages, against {EARLY:,}",
                "MB",
                measured["late"],
                measured["early"],
                at_most=1.1,
            )
        ]


async def _keep_sending(url: str) -> None:
    async with aws_clients(region=REGION, endpoint_url=url) as clients:
        queue_url = (await clients.sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]
        channel = SqsChannel(clients.sqs, QUEUE, queue_url)
        while True:
            answer = await clients.sqs.get_queue_attributes(
                QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages"]
            )
            if int(answer["Attributes"]["ApproximateNumberOfMessages"]) > _BACKLOG:
                await asyncio.sleep(0.1)
            else:
                await channel.send([message(number) for number in range(1_000)])
