"""Scenario of a system with the service `billing`, which `make new-service` has added to a copy of this
repository. Run in the copy: `python -m tests.system.fourth_service FOLDER`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import expect
from snsqs import aws_clients

from local.order import ORDER
from local.ports import Ports
from local.reconcile import run_reconcile
from local.system import OPERATOR, REGION, LocalSystem, running_system
from tests.adapter.test_adapter import receive, subscribe
from tests.console.browser import browser
from tests.serving import eventually

QUEUE = "billing-order-event-queue"
SERVICES = ["adapter", "billing", "console", "order", "scm"]

Json = dict[str, Any]


class Scenario:
    """Clients of a running system."""

    def __init__(self, system: LocalSystem) -> None:
        self.system = system
        self.services = {
            name: httpx.AsyncClient(base_url=system.ports.url(name), headers=OPERATOR, timeout=30)
            for name in SERVICES
        }

    async def get(self, service: str, path: str, **params: Any) -> Any:
        return (await self.services[service].get(path, params=params)).raise_for_status().json()

    async def post(self, service: str, path: str, body: Any = None) -> Any:
        return (await self.services[service].post(path, json=body)).raise_for_status().json()

    async def order(self) -> str:
        """Place and pay an order, and wait until it is billed and has its invoice."""
        placed = await self.post("order", "/orders", ORDER)
        order_id = str(placed["id"])
        await self.post("order", f"/orders/{order_id}/complete")

        async def is_done() -> bool:
            """The order is billed, and prepared by SCM."""
            entry = await self.services["billing"].get(f"/entries/{order_id}")
            order = await self.get("order", f"/orders/{order_id}")
            return entry.is_success and order["invoiceId"] is not None

        await eventually(is_done)
        return order_id

    async def stations(self) -> dict[str, Json]:
        return {each["id"]: each for each in (await self.get("console", "/api/stations"))["stations"]}


async def exchange(scenario: Scenario) -> str:
    """Billing receives the order's event; its own leaves through the adapter, with the published fields."""
    async with aws_clients(region=REGION, endpoint_url=scenario.system.ports.url("aws")) as aws:
        url = await subscribe(aws, "billing-events")
        order_id = await scenario.order()

        async def published() -> list[Any]:
            return await receive(aws, url)

        [message] = await eventually(published)
        await aws.sqs.delete_queue(QueueUrl=url)
    pieces = sum(line["quantity"] for line in ORDER["orderLines"])
    assert json.loads(message["Body"])["source"] == {"id": order_id, "version": 1, "pieces": pieces}
    return order_id


async def observe(scenario: Scenario, order_id: str) -> None:
    """Stations, lineage and page have the service."""
    listener = (await scenario.stations())[f"listener:{QUEUE}"]
    assert (listener["service"], listener["feeds"]) == ("billing", ["relay:billing"])
    lineage = await scenario.get("console", f"/api/orders/{order_id}/lineage")
    assert ("handled", f"listener:{QUEUE}") in {(hop["name"], hop["station"]) for hop in lineage["hops"]}
    assert lineage["gaps"] == []
    async with browser() as chromium:
        page = await chromium.new_page()
        await page.goto(scenario.system.ports.url("console"))
        for name in ("Outbox of billing", QUEUE, "billing-events"):
            await expect(page.locator(".station").filter(has_text=name).first).to_be_visible()
        await expect(page.locator("#services")).to_contain_text("billing")


async def operate(scenario: Scenario, order_id: str) -> None:
    """Its listener is paused and resumed, and a replay includes its state in the proof."""
    path = f"/api/listeners/billing/{QUEUE}"
    assert (await scenario.post("console", f"{path}/pause"))["status"] == "paused"
    assert (await scenario.post("console", f"{path}/resume"))["status"] == "listening"
    begun = await scenario.post("console", "/api/replay", {"selection": {"orderId": order_id}})

    async def is_over() -> Json | None:
        """The replay has ended."""
        found: Json = await scenario.get("console", f"/api/operations/{begun['id']}")
        return found if found["status"] != "running" else None

    done = await eventually(is_over)
    proof = done["proof"]
    assert sorted(each["service"] for each in proof["states"]) == ["billing", "scm"]
    assert (proof["unchanged"], done["error"]) == (True, None)


async def scale(scenario: Scenario) -> None:
    """The console sums two instances of it."""
    before = (await scenario.stations())[f"listener:{QUEUE}"]["counts"]["handled"]
    await scenario.system.start_another("billing")
    for _ in range(4):
        await scenario.order()

    async def is_counted() -> bool:
        """Four more orders are counted, and two instances are known."""
        handled = (await scenario.stations())[f"listener:{QUEUE}"]["counts"]["handled"]
        services = (await scenario.get("console", "/api/stations"))["services"]
        [billing] = [each for each in services if each["id"] == "billing"]
        is_doubled = [each["status"] for each in billing["instances"]] == ["up", "up"]
        return bool(handled == before + 4 and is_doubled)

    await eventually(is_counted)


async def main(folder: Path) -> None:
    async with running_system(folder, Ports.free()) as system:
        scenario = Scenario(system)
        for line in ORDER["orderLines"]:
            path = f"/back-office/stock/{line['sku']}"
            (await scenario.services["scm"].put(path, json={"onHand": 1_000})).raise_for_status()

        async def is_registered() -> bool:
            """All services have registered with the console."""
            registered = {each["name"] for each in await scenario.get("console", "/api/services")}
            return registered == set(SERVICES) - {"console"}

        await eventually(is_registered)
        order_id = await exchange(scenario)
        await observe(scenario, order_id)
        await operate(scenario, order_id)
        await scale(scenario)
        order, scm, console = (system.ports.url(name) for name in ("order", "scm", "console"))
        assert await run_reconcile(order, scm, console, wait=10) == 0


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
