"""From publishing to the handler, on an otherwise idle system."""

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable

from snsqs import ListenerContainer, Message, SnsChannel, Topology, aws_clients, bindings, sqs_listener
from snsqs.queues import message_attributes

from benchmarks.child import alternating
from benchmarks.event import QUEUE, REGION, TOPIC, Measured, message
from benchmarks.figure import Figure
from benchmarks.meter import plain_clients
from benchmarks.server import aws_server, fill

Publish = Callable[[Message[str]], Awaitable[object]]

COUNT = 100
_MAX_PAUSE = 0.3
"""Seconds between two messages, at random: the local server looks at its queues every tenth of a second."""


class Stopwatch:
    """Sends messages one at a time, each after the previous one was handled, and times them."""

    def __init__(self) -> None:
        self._handled = asyncio.Event()
        self._milliseconds: list[float] = []

    def handled(self) -> None:
        self._handled.set()

    async def run(self, publish: Publish) -> dict[str, float]:
        for number in range(COUNT + 3):
            await asyncio.sleep(random.uniform(0, _MAX_PAUSE))  # noqa: S311 - not a secret
            self._handled.clear()
            began = time.perf_counter()
            await publish(message(number))
            await self._handled.wait()
            self._milliseconds.append((time.perf_counter() - began) * 1e3)
        percentiles = statistics.quantiles(self._milliseconds[3:], n=100)  # the first ones open connections
        return {"p50": percentiles[49], "p99": percentiles[98]}


async def ours(url: str) -> dict[str, float]:
    stopwatch = Stopwatch()

    @sqs_listener(QUEUE, topic=TOPIC)
    async def handler(event: Measured) -> None:
        stopwatch.handled()

    async with aws_clients(region=REGION, endpoint_url=url) as clients:
        topology = Topology(clients, create=True)
        [binding] = bindings([handler])
        listener = ListenerContainer(topology, binding)
        await listener.prepare()
        running = asyncio.create_task(listener.run())
        channel = SnsChannel(clients.sns, topology, TOPIC)
        result = await stopwatch.run(lambda each: channel.send([each]))
        listener.stop()
        await running
        return result


async def bare(url: str) -> dict[str, float]:
    """`publish`, and a loop that waits, parses and deletes."""
    stopwatch = Stopwatch()
    async with plain_clients(url) as clients:
        arn = (await clients.sns.create_topic(Name=TOPIC))["TopicArn"]
        queue_url = (await clients.sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]

        async def loop() -> None:
            while True:
                answer = await clients.sqs.receive_message(
                    QueueUrl=queue_url,
                    MaxNumberOfMessages=10,
                    WaitTimeSeconds=20,
                    MessageAttributeNames=["All"],
                )
                for each in answer.get("Messages", []):
                    Measured.model_validate_json(each["Body"])
                    stopwatch.handled()
                    await clients.sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=each["ReceiptHandle"])

        polling = asyncio.create_task(loop())
        result = await stopwatch.run(
            lambda each: clients.sns.publish(
                TopicArn=arn, Message=each.payload, MessageAttributes=message_attributes(each)
            )
        )
        polling.cancel()
        return result


async def latency() -> list[Figure]:
    async with aws_server() as url:

        async def prepare() -> None:
            await fill(url, 0)

        our, by_hand = await alternating(ours, bare, prepare, url=url)
        return [
            Figure(f"publish to handler, {which}", "ms", our[which], by_hand[which], at_most=1.3)
            for which in ("p50", "p99")
        ]
