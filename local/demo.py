"""`make demo`: real orders through the whole system, their way as it happens, and what came of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from local.order import ORDER, order_of
from local.reconcile import settled
from local.story import Act, Story
from local.system import OPERATOR, Ports, running_system

Json = dict[str, Any]

FOLDER = Path(__file__).parent.parent / ".local" / "demo"
"""Data and logs of the last run."""

STOCK = {"MUG-01": 50, "TEAPOT-02": 20, "TRAY-03": 5, "LAMP-04": 5}
NEW_ADDRESS = ORDER["deliveryAddress"] | {"postalCode": "48058", "street": "55 Centum-ro", "city": "Busan"}
SUPPLIER = ("LAMP-04", "hanbit-lamps")
SETTLED_MOST = 45.0
"""Seconds after which the demo checks what is there, settled or not."""

_BODIES = {"memo": {"memo": "Please call before noon."}, "delivery-address": NEW_ADDRESS}
_PAY = Act("customer", "complete")
_DISPATCH = Act("carrier", "dispatched", once="PREPARING")


def stories() -> list[Story]:
    return [
        Story("two mugs", "cyan", {"MUG-01": 2}, [_PAY], "PREPARING"),
        Story(
            "three trays",
            "blue",
            {"TRAY-03": 3},
            [_PAY, _DISPATCH, Act("carrier", "delivered", once="SHIPPED")],
            "DELIVERED",
        ),
        Story(
            "nine lamps",
            "red",
            {"LAMP-04": 9},
            [_PAY, Act("supplier", "goods", once="BACKORDERED")],
            "PREPARING",
        ),
        Story(
            "moved house",
            "green",
            {"TEAPOT-02": 1, "MUG-01": 4},
            [_PAY, Act("customer", "delivery-address", once="PREPARING")],
            "PREPARING",
        ),
        Story("cancelled unpaid", "yellow", {"MUG-01": 1}, [Act("customer", "cancel")], "CANCELLED"),
        Story(
            "cancelled paid",
            "bright_yellow",
            {"MUG-01": 3},
            [_PAY, Act("customer", "cancel", once="PREPARING")],
            "CANCELLED",
        ),
        Story(
            "cancelled late",
            "bright_red",
            {"TEAPOT-02": 2},
            [_PAY, _DISPATCH, Act("customer", "cancel", once="PREPARING")],
            "SHIPPED",
        ),
        Story("commented on", "magenta", {"TEAPOT-02": 1}, [Act("customer", "memo")], "PLACED"),
    ]


async def run_demo() -> int:
    """Runs the demo on a system of its own. Returns 0 when every check holds, 1 otherwise."""
    console = Console(highlight=False, soft_wrap=True)
    console.print("[bold]Starting[/] PostgreSQL, an SNS/SQS server and the services order, adapter, scm …")
    async with (
        running_system(FOLDER, Ports.free(), fresh=True) as system,
        httpx.AsyncClient(base_url=system.ports.url("order"), trust_env=False) as order,
        httpx.AsyncClient(base_url=system.ports.url("scm"), headers=OPERATOR, trust_env=False) as scm,
    ):
        return await _Demo(console, order, scm, stories()).run()


@dataclass
class _Demo:
    console: Console
    order: httpx.AsyncClient
    scm: httpx.AsyncClient
    stories: Sequence[Story]

    async def run(self) -> int:
        await self._seed()
        self.console.print(
            "\n[bold]The way of each order[/], in milliseconds since what was done; all read over REST\n"
        )
        watching = asyncio.create_task(self._watch())
        for story in self.stories:
            await self._place(story)
        await watching
        self._summarise()
        return 0 if await self._check() else 1

    async def _seed(self) -> None:
        for sku, on_hand in STOCK.items():
            answer = await self.scm.put(f"/back-office/stock/{sku}", json={"onHand": on_hand})
            answer.raise_for_status()
        sku, supplier = SUPPLIER
        supplies = await self.scm.put(f"/back-office/supplies/{sku}", json={"supplier": supplier})
        supplies.raise_for_status()
        self.console.print("In stock: " + ", ".join(f"{count} {sku}" for sku, count in STOCK.items()))

    async def _place(self, story: Story) -> None:
        placed = await self.order.post("/orders", json=order_of(story.lines))
        placed.raise_for_status()
        story.id = placed.json()["id"]

    async def _watch(self) -> None:
        """Prints each station of each order once it is passed, and does what is to be done next, until all
        have settled."""
        try:
            async with asyncio.timeout(SETTLED_MOST):
                while not all([await self._settled(story) for story in self.stories]):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            self.console.print(f"[red]not settled after {SETTLED_MOST:g} s[/]")

    async def _settled(self, story: Story) -> bool:
        if story.settled or not story.id:
            return story.settled
        of_order, of_scm, order = await asyncio.gather(
            self.order.get(f"/orders/{story.id}/events"),
            self.scm.get(f"/orders/{story.id}/events"),
            self.order.get(f"/orders/{story.id}"),
        )
        story.heard(of_order.json(), of_scm.json(), order.json())
        for station in story.new_stations():
            self.console.print(
                f"  [{story.colour}]{story.name:<16}[/] {station.milliseconds:6.0f} ms  "
                f"{station.name:<17} {station.detail}"
            )
        await self._act(story)
        return story.settled

    async def _act(self, story: Story) -> None:
        """Does what the story has next, when the order is where that is done. What follows on the same
        status is done at once: whichever comes first wins."""
        status = story.order["status"]
        for act in story.acts[len(story.acted) :]:
            if act.once != status:
                return
            story.acted.append((datetime.now(UTC), act))
            match act.who:
                case "customer":
                    await self._customer(story, act.what)
                case "carrier":
                    answer = await self.scm.post(
                        f"/external-api/invoices/{story.order['invoiceId']}/{act.what}"
                    )
                    answer.raise_for_status()
                case "supplier":
                    await self._supplier(story)

    async def _customer(self, story: Story, command: str) -> None:
        method = "PUT" if command in _BODIES else "POST"
        path = f"/orders/{story.id}/{command}"
        answer = await self.order.request(method, path, json=_BODIES.get(command))
        answer.raise_for_status()

    async def _supplier(self, story: Story) -> None:
        """Confirms and brings what SCM bought for the order."""
        for bought in (await self.scm.get(f"/orders/{story.id}")).json()["purchaseOrders"]:
            path = f"/partner-office/purchase-orders/{bought['id']}"
            (await self.scm.post(f"{path}/confirm")).raise_for_status()
            lines = [{"sku": line["sku"], "quantity": line["quantity"]} for line in bought["lines"]]
            receipt = {"deliveryNote": f"DN-{bought['id']}", "lines": lines}
            (await self.scm.post(f"{path}/receive", json=receipt)).raise_for_status()

    def _summarise(self) -> None:
        table = Table(title="\nWhat came of them", title_justify="left", title_style="bold", box=None)
        for column in ("order", "id", "status", "total"):
            table.add_column(column, justify="right" if column == "total" else "left")
        for story in self.stories:
            total = f"{story.order.get('totalPrice', 0):,} won"
            table.add_row(f"[{story.colour}]{story.name}[/]", story.id, story.order.get("status"), total)
        self.console.print(table)

    async def _check(self) -> bool:
        """Whether all checks hold; each is printed."""
        self.console.print("\n[bold]Checks[/], over REST")
        checks = [check for story in self.stories for check in await self._checks_of(story)]
        books, differences = await settled(self.order, self.scm, within=10)
        checks.append(
            (f"Order and SCM agree on all {len(books.orders)} orders and on the stock", not differences)
        )
        for claim, holds in checks:
            self.console.print(f"  {'[green]✓[/]' if holds else '[red]✗[/]'} {claim}")
        for difference in differences:
            self.console.print(f"    {difference}")
        failed = sum(not holds for _, holds in checks)
        self.console.print(f"\n{len(checks) - failed} of {len(checks)} checks hold.")
        return failed == 0

    async def _checks_of(self, story: Story) -> list[tuple[str, bool]]:
        order = (await self.order.get(f"/orders/{story.id}")).json()
        at_scm = await self.scm.get(f"/orders/{story.id}")
        checks = [(f"is {story.expected}", order["status"] == story.expected)]
        if not story.reaches_scm:
            checks.append(("SCM does not know it", at_scm.status_code == httpx.codes.NOT_FOUND))
            checks.append(("its events were held back", story.decisions == {"held_back"}))
        else:
            invoices = at_scm.json()["invoices"]
            live = [each for each in invoices if each["status"] != "VOID"]
            shipped_or_to_be = story.expected != "CANCELLED"
            checks.append((f"has {int(shipped_or_to_be)} live invoice", len(live) == shipped_or_to_be))
            checks += _checks_of_invoices(story, invoices, live)
        return [(f"{story.name}: {claim}", holds) for claim, holds in checks]


def _checks_of_invoices(story: Story, invoices: list[Json], live: list[Json]) -> list[tuple[str, bool]]:
    did = {act.what for act in story.acts}
    checks = []
    if "goods" in did:
        checks.append(
            ("was short, and served when the supplier had delivered", "StockShort" in story.answers)
        )
    if "delivery-address" in did:
        addresses = [invoice["deliveryAddress"]["street"] for invoice in live]
        checks.append(
            (
                "the first invoice is void, the new one has the new address",
                len(invoices) == 2 and addresses == [NEW_ADDRESS["street"]],
            )
        )
    if story.name == "cancelled paid":
        checks.append(
            ("its invoice is void, its goods are free", [each["status"] for each in invoices] == ["VOID"])
        )
    if story.name == "cancelled late":
        checks.append(
            (
                "the parcel was faster, so the cancellation was rejected",
                "CancellationRejected" in story.answers,
            )
        )
    return checks
