"""A channel that receives a hundred messages per call, compared with `publish_batch` by hand."""

import asyncio
from typing import Any

from snsqs import SnsChannel, Topology, aws_clients
from snsqs.queues import message_attributes

from benchmarks.child import alternating
from benchmarks.event import REGION, TOPIC, message
from benchmarks.figure import Figure, compared
from benchmarks.meter import Meter, plain_clients
from benchmarks.server import aws_server, fill

COUNT = 3_000


async def ours(url: str) -> dict[str, float]:
    async with aws_clients(region=REGION, endpoint_url=url) as clients:
        meter = Meter(clients, COUNT)
        channel = SnsChannel(clients.sns, Topology(clients, create=True), TOPIC)
        while not meter.is_done:
            await channel.send([message(number) for number in range(100)])
            meter.handled(100)
        return await meter.result()


async def bare(url: str) -> dict[str, float]:
    """Run ten calls concurrently."""
    async with plain_clients(url) as clients:
        meter = Meter(clients, COUNT)
        arn = (await clients.sns.create_topic(Name=TOPIC))["TopicArn"]

        async def publish(start: int) -> None:
            entries: Any = [
                {"Id": str(n), "Message": each.payload, "MessageAttributes": message_attributes(each)}
                for n, each in ((n, message(n)) for n in range(start, start + 10))
            ]
            await clients.sns.publish_batch(TopicArn=arn, PublishBatchRequestEntries=entries)

        while not meter.is_done:
            await asyncio.gather(*(publish(start) for start in range(0, 100, 10)))
            meter.handled(100)
        return await meter.result()


async def publisher() -> list[Figure]:
    async with aws_server() as url:

        async def prepare() -> None:
            await fill(url, 0)

        our, by_hand = await alternating(ours, bare, prepare, url=url)
        return compared("publisher", our, by_hand, calls=0.11)
