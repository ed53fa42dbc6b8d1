"""Several instances of the adapter behind one address."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
from snsqs import AwsClients

from local.ports import HOST
from tests.adapter.test_adapter import BATCH, event, receive, subscribe
from tests.serving import Served, adapter_service, eventually


@asynccontextmanager
async def balanced(*instances: Served) -> AsyncIterator[str]:
    """The URL of a load balancer that gives each connection to the next instance."""
    ports = itertools.cycle(instance.port for instance in instances)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65_536):
                writer.write(chunk)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(HOST, next(ports))
        await asyncio.gather(copy(reader, downstream), copy(upstream, writer))

    server = await asyncio.start_server(serve, HOST)
    async with server:
        yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}"


async def test_decisions_of_all_instances_are_visible(aws_url: str, aws: AwsClients) -> None:
    """They share nothing: each publishes its events, and a client that polls with cursors gets all decisions,
    each once."""
    url = await subscribe(aws, "order-events")
    async with (
        adapter_service(aws_url) as one,
        adapter_service(aws_url) as other,
        balanced(one, other) as address,
        httpx.AsyncClient(base_url=address) as console,
    ):
        cursors, ids = dict[str, str](), list[str]()

        async def poll() -> int:
            answer = (await console.get("/progress", params={"after": list(cursors.values())})).json()
            cursors[answer["cursor"].partition("-")[0]] = answer["cursor"]
            ids.extend(decision["eventId"] for decision in answer["decisions"])
            return len(cursors)

        async def both_polled() -> bool:
            return await poll() == 2

        await eventually(both_polled)
        events = [event() for _ in range(4)]
        for each in events:
            async with httpx.AsyncClient(base_url=address) as relay:
                (await relay.post("/events", json=[each], headers=BATCH)).raise_for_status()

        async def all_seen() -> bool:
            await poll()
            return len(ids) >= len(events)

        await eventually(all_seen)
        assert sorted(ids) == sorted(each["id"] for each in events)
        counts = [(await each.http.get("/progress")).json()["bridge"]["counts"] for each in (one, other)]
        assert counts == [{"forwarded": 2}] * 2
    assert len(await receive(aws, url)) == 4
