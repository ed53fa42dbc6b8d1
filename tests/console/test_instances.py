"""Several adapters behind one address, and an event path that does not depend on the console."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from local.order import ORDER
from local.ports import Ports
from local.system import OPERATOR, LocalSystem, running_system
from tests.adapter.test_adapter import event, send
from tests.console.test_live import watching
from tests.serving import adapter_service, console_service, eventually


async def test_decisions_of_two_adapters_are_shown(console_database: str, aws_url: str) -> None:
    """Each exactly once, and the counts of both together."""
    async with (
        adapter_service(aws_url) as first,
        adapter_service(aws_url) as second,
        console_service(console_database, aws_url, first.registration, second.registration) as console,
        watching(console) as viewer,
    ):
        known = [event(), event()]
        shown: list[str] = []

        async def both_are_polled() -> bool:
            """The console has a cursor of each instance once it shows a decision of each."""
            for adapter in (first, second):
                await send(adapter, event("MemoWritten"))
            await asyncio.sleep(0.5)
            return len({each["at"] for each in viewer.all("decision")}) >= 4

        await eventually(both_are_polled)
        for adapter, each in zip((first, second), known, strict=True):
            await send(adapter, each)

        async def both_are_shown() -> bool:
            nonlocal shown
            shown = [each["eventId"] for each in viewer.all("decision")]
            return {each["id"] for each in known} <= set(shown)

        await eventually(both_are_shown)
        found = (await console.http.get("/api/stations")).json()
        progress = [(await each.http.get("/progress")).json()["bridge"]["counts"] for each in (first, second)]
    assert len(shown) == len(set(shown))
    [adapter_station] = [each for each in found["stations"] if each["kind"] == "adapter"]
    assert all(progress)
    assert adapter_station["counts"] == {
        outcome: sum(counts.get(outcome, 0) for counts in progress) for outcome in ("forwarded", "held_back")
    }


@pytest.fixture(scope="module")
async def local_system(
    processes: None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalSystem]:
    async with running_system(tmp_path_factory.mktemp("system"), Ports.free()) as running:
        async with httpx.AsyncClient(base_url=running.ports.url("scm"), headers=OPERATOR) as scm:
            for line in ORDER["orderLines"]:
                answer = await scm.put(f"/back-office/stock/{line['sku']}", json={"onHand": 1_000})
                answer.raise_for_status()
        yield running


async def prepared_orders(system: LocalSystem, count: int) -> None:
    """Place and pay orders, and wait until SCM has issued the invoice of each."""
    async with httpx.AsyncClient(base_url=system.ports.url("order"), timeout=10) as http:

        async def buy() -> str:
            placed = (await http.post("/orders", json=ORDER)).raise_for_status().json()
            (await http.post(f"/orders/{placed['id']}/complete")).raise_for_status()
            return str(placed["id"])

        async def is_prepared(order_id: str) -> bool:
            found: dict[str, Any] = (await http.get(f"/orders/{order_id}")).json()
            return found["status"] == "PREPARING" and found["invoiceId"] is not None

        for order_id in [await buy() for _ in range(count)]:
            await eventually(lambda order_id=order_id: is_prepared(order_id))  # type: ignore[misc]


async def test_a_frozen_console_does_not_delay_events(local_system: LocalSystem) -> None:
    """It is stopped in the middle of polling; its requests are pending at every service."""
    local_system.programs["console"].send_signal(signal.SIGSTOP)
    try:
        await prepared_orders(local_system, 3)
    finally:
        local_system.programs["console"].send_signal(signal.SIGCONT)


async def test_an_overloaded_console_does_not_delay_events(local_system: LocalSystem) -> None:
    """Clients hold all of its live streams and read stations and unknown lineages without a pause."""
    enough = asyncio.Event()

    async def read(http: httpx.AsyncClient, path: str) -> int:
        count = 0
        while not enough.is_set():
            with suppress(httpx.TransportError):
                await http.get(path, timeout=10)
                count += 1
        return count

    async def watch(http: httpx.AsyncClient) -> None:
        with suppress(httpx.TransportError):
            async with http.stream("GET", "/api/live", timeout=30) as response:
                async for _ in response.aiter_bytes():
                    if enough.is_set():
                        return

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=local_system.ports.url("console"), limits=limits) as http:
        async with asyncio.TaskGroup() as group:
            paths = ["/api/stations", f"/api/orders/{'2' * 20}/lineage"] * 10
            readers = [group.create_task(read(http, path)) for path in paths]
            for _ in range(50):
                group.create_task(watch(http))
            await prepared_orders(local_system, 3)
            enough.set()
        assert any(reader.result() for reader in readers)


async def test_a_killed_console_does_not_delay_events(local_system: LocalSystem) -> None:
    """And it comes back, on the same database."""
    local_system.programs["console"].send_signal(signal.SIGKILL)
    await local_system.programs["console"].wait()
    await prepared_orders(local_system, 3)
    await local_system.start_service("console")
    async with httpx.AsyncClient(base_url=local_system.ports.url("console")) as http:
        found = (await http.get("/api/stations")).json()
    assert {each["id"]: each["status"] for each in found["services"]} == {
        "order": "up",
        "scm": "up",
        "adapter": "up",
    }
