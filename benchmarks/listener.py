"""A listener with an empty handler, compared with a receive and delete loop written by hand."""

import asyncio
from typing import Any

from snsqs import ListenerContainer, ListenerOptions, Topology, aws_clients, bindings, sqs_listener

from benchmarks.child import alternating
from benchmarks.event import QUEUE, REGION, TOPIC, Measured
from benchmarks.figure import Figure, compared
from benchmarks.meter import WARM_UP, Meter, plain_clients
from benchmarks.server import aws_server, fill

COUNT = 3_000
_UNTOUCHED = 200
"""Messages that are left at the end, so that no call of the measured ones comes back half full."""


async def ours(url: str, in_flight: int) -> dict[str, float]:
    async with aws_clients(region=REGION, endpoint_url=url) as clients:
        meter = Meter(clients, COUNT)

        @sqs_listener(QUEUE, topic=TOPIC)
        async def handler(event: Measured) -> None:
            meter.handled()

        [binding] = bindings([handler])
        options = ListenerOptions(max_concurrency=in_flight, poll_timeout=1)
        listener = ListenerContainer(Topology(clients, create=True), binding, options=options)
        await listener.prepare()
        running = asyncio.create_task(listener.run())
        result = await meter.result()
        listener.stop()
        await running
        return result


async def bare(url: str, in_flight: int) -> dict[str, float]:
    """Run as many loops as our listener has pollers; each receives ten messages, parses and deletes them."""
    async with plain_clients(url) as clients:
        meter = Meter(clients, COUNT)
        queue_url = (await clients.sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]

        async def loop() -> None:
            while not meter.is_done:
                answer = await clients.sqs.receive_message(
                    QueueUrl=queue_url,
                    MaxNumberOfMessages=10,
                    WaitTimeSeconds=1,
                    MessageAttributeNames=["All"],
                )
                received = answer.get("Messages", [])
                for each in received:
                    Measured.model_validate_json(each["Body"])
                entries: Any = [
                    {"Id": str(i), "ReceiptHandle": each["ReceiptHandle"]} for i, each in enumerate(received)
                ]
                await clients.sqs.delete_message_batch(QueueUrl=queue_url, Entries=entries)
                meter.handled(len(received))

        await asyncio.gather(*(loop() for _ in range(1 if in_flight <= 10 else 4)))
        return await meter.result()


async def listener() -> list[Figure]:
    async with aws_server() as url:
        return [*await _with(url, in_flight=10), *await _with(url, in_flight=50)]


async def _with(url: str, in_flight: int) -> list[Figure]:
    async def prepare() -> None:
        await fill(url, WARM_UP + COUNT + _UNTOUCHED)

    our, by_hand = await alternating(ours, bare, prepare, url=url, in_flight=in_flight)
    return compared(f"listener, {in_flight} in flight", our, by_hand, calls=0.22)
