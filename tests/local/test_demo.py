"""The demo against a scripted system: services that are slow, and services that fail."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich.console import Console

from local.demo import Demo
from local.scenarios import scenarios

ORDER_ID = "20260101000000000000"
PURCHASE_ORDER = {"id": 7, "lines": [{"sku": "LAMP-04", "quantity": 4}]}
AT = "2026-01-01T00:00:00Z"

Frame = dict[str, Any]
"""Fields of the answers to the next read of the order: status, invoiceId, purchaseOrders."""

Script = Mapping[str, Sequence[Frame]]
"""Frames by the path of the command that they follow."""

COMPLETED = {"status": "COMPLETED"}
BACKORDERED = {"status": "BACKORDERED"}
PURCHASED = BACKORDERED | {"purchaseOrders": [PURCHASE_ORDER]}
PREPARING = {"status": "PREPARING"}
INVOICED = PREPARING | {"invoiceId": "the-invoice"}

RECONCILIATION: Mapping[str, Any] = {
    "/reconciliation": {"orders": []},
    "/reconciliation/stock": {"stock": []},
    "/reconciliation/demand": {"demand": []},
    "/reconciliation/events": {"waiting": 0, "parked": 0, "consumed": []},
    "/reconciliation/missing": {"ids": []},
    "/reconciliation/received": {"received": []},
    "/partner-office/purchase-orders": [],
}

LINEAGE = {
    "hops": [
        {"at": AT, "station": "order", "type": "OrderCompleted", "outcome": "published", "error": None},
        {
            "at": None,
            "station": "a-queue",
            "type": "OrderCompleted",
            "outcome": "not_received",
            "error": None,
        },
    ],
    "gaps": [{"service": "scm", "reason": "did not answer"}],
}


@dataclass
class ScriptedSystem:
    """All services. Each command is followed by frames, of which every read of the order shows the next;
    the last one stays. A path without a script is answered 404, as for the invoice `None`."""

    script: Script
    failing: str = ""
    """Path that is answered 500."""
    frames: list[Frame] = field(default_factory=lambda: [{"status": "PLACED"}])
    commands: list[str] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == self.failing:
            return httpx.Response(500, text="out of order")
        if request.method == "GET":
            found = self._read(request.url.host, path)
            return httpx.Response(404) if found is None else httpx.Response(200, json=found)
        if path.startswith("/back-office"):
            return httpx.Response(204)
        if path == "/orders":
            return httpx.Response(201, json={"id": ORDER_ID})
        self.commands.append(path)
        if path not in self.script:
            return httpx.Response(404)
        self.frames = list(self.script[path]) or self.frames
        return httpx.Response(200, json={})

    def _read(self, host: str, path: str) -> Any:
        if path in RECONCILIATION:
            return RECONCILIATION[path]
        if path == f"/api/orders/{ORDER_ID}/lineage":
            return LINEAGE
        if path == f"/orders/{ORDER_ID}/events":
            return self._events(host)
        if host == "order" and len(self.frames) > 1:
            self.frames.pop(0)
        frame: Frame = {"invoiceId": None, "purchaseOrders": [], "totalPrice": 63_000} | self.frames[0]
        invoices = [{"status": "ISSUED"}] if frame["invoiceId"] else []
        return frame | {"invoices": invoices, "reservations": []}

    def _events(self, host: str) -> Any:
        """Of OrderCompleted and StockShort, which have arrived, so that only the frames matter."""
        events = {"order": "OrderCompleted", "scm": "StockShort"}
        published = [
            {"id": service, "type": type, "occurredAt": AT, "relayedAt": AT, "decidedAt": AT}
            | {"decision": "forwarded", "rule": "a-route"}
            for service, type in events.items()
        ]
        received = [
            {"messageId": each["id"], "type": each["type"], "receivedAt": AT, "consumer": "a-queue"}
            for each in published
        ]
        return {
            "published": [each for each in published if each["id"] == host],
            "received": [each for each in received if each["messageId"] != host],
        }


async def run(system: ScriptedSystem, name: str, timeout: float = 30) -> tuple[int, str]:
    """Exit code and output of the demo with one of its scenarios."""
    output = io.StringIO()
    [scenario] = [each for each in scenarios() if each.name == name]
    transport = httpx.MockTransport(system.answer)
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://order") as order,
        httpx.AsyncClient(transport=transport, base_url="http://scm") as scm,
        httpx.AsyncClient(transport=transport, base_url="http://console") as operations,
    ):
        demo = Demo(Console(file=output, width=200), order, scm, operations, [scenario], timeout)
        return await demo.run(), output.getvalue()


def path(command: str) -> str:
    return f"/orders/{ORDER_ID}/{command}"


async def test_the_carrier_waits_for_the_invoice() -> None:
    """The order is PREPARING for several reads before it knows its invoice."""
    invoice = "/external-api/invoices/the-invoice"
    script: Script = {
        path("complete"): [COMPLETED, COMPLETED, PREPARING, PREPARING, PREPARING, INVOICED],
        f"{invoice}/dispatched": [INVOICED, INVOICED | {"status": "SHIPPED"}],
        f"{invoice}/delivered": [INVOICED | {"status": "DELIVERED"}],
    }
    system = ScriptedSystem(script)
    code, output = await run(system, "three trays")
    assert code == 0, output
    assert system.commands == list(script)
    assert "received by SCM   OrderCompleted from a-queue" in output


async def test_the_supplier_waits_for_the_purchase_order() -> None:
    """The order is BACKORDERED for several reads before the purchase order can be read."""
    purchase_order = "/partner-office/purchase-orders/7"
    script: Script = {
        path("complete"): [BACKORDERED, BACKORDERED, BACKORDERED, PURCHASED],
        f"{purchase_order}/confirm": [],
        f"{purchase_order}/receive": [PURCHASED, PREPARING, INVOICED],
    }
    system = ScriptedSystem(script)
    code, output = await run(system, "nine lamps")
    assert code == 0, output
    assert system.commands == list(script)


async def test_a_failed_check_prints_the_lineage_of_its_order() -> None:
    """An order that stays COMPLETED ends the demo with 1 after its timeout."""
    code, output = await run(ScriptedSystem({path("complete"): [COMPLETED]}), "two mugs", timeout=0.3)
    assert code == 1
    assert "✗ two mugs: is PREPARING" in output
    assert f"lineage, http://console/api/orders/{ORDER_ID}/lineage:" in output
    assert f"      {AT}  order  OrderCompleted  published\n" in output
    assert "      not yet  a-queue  OrderCompleted  not_received\n" in output
    assert "unknown: scm: did not answer" in output


async def test_a_step_that_fails_is_one_line() -> None:
    """Request, status and reason; the checks and the lineage follow."""
    code, output = await run(ScriptedSystem({}, failing=path("complete")), "two mugs")
    assert code == 1
    line = f"customer, complete: POST http://order{path('complete')} answered 500: out of order"
    assert output.count(line) == 1
    assert "✗ two mugs: is PREPARING" in output
    assert "not_received" in output
    assert "0 of 2 checks hold" not in output
    assert "1 of 3 checks hold" in output


async def test_an_order_that_cannot_be_read_is_one_line() -> None:
    """The reads go on until the timeout, because the service may come back."""
    code, output = await run(ScriptedSystem({}, failing=f"/orders/{ORDER_ID}"), "two mugs", timeout=0.3)
    assert code == 1
    assert f"GET http://order/orders/{ORDER_ID} answered 500: out of order" in output
