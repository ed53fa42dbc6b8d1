"""Cost of an idle listener."""

import asyncio

from snsqs import ListenerContainer, Topology, aws_clients, bindings, sqs_listener

from benchmarks.child import in_child
from benchmarks.event import QUEUE, REGION, TOPIC, Measured
from benchmarks.figure import Figure
from benchmarks.meter import cpu_seconds
from benchmarks.server import aws_server, fill


async def ours(url: str) -> dict[str, float]:
    """Measure a minute from the start of the first long poll."""
    calls = 0

    def count(**_: object) -> None:
        nonlocal calls
        calls += 1

    @sqs_listener(QUEUE, topic=TOPIC)
    async def handler(event: Measured) -> None: ...

    async with aws_clients(region=REGION, endpoint_url=url) as clients:
        [binding] = bindings([handler])
        listener = ListenerContainer(Topology(clients, create=True), binding)
        await listener.prepare()
        running = asyncio.create_task(listener.run())
        await asyncio.sleep(2)
        clients.sqs.meta.events.register("before-call.*.*", count)
        began = cpu_seconds()
        await asyncio.sleep(60)
        used = cpu_seconds() - began
        listener.stop()
        await running
        return {"calls": calls, "cpu": used}


async def idle() -> list[Figure]:
    async with aws_server() as url:
        await fill(url, 0)
        measured = await in_child(ours, url=url)
        return [
            Figure("idle listener: AWS calls", "per minute", measured["calls"], at_most=3),
            Figure("idle listener: CPU", "ms per minute", measured["cpu"] * 1e3),
        ]
