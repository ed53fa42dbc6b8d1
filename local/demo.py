"""`make demo`: real orders through the whole system, their way as it happens, and what came of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from local.story import Story
from local.system import OPERATOR, Ports, running_system

FOLDER = Path(__file__).parent.parent / ".local" / "demo"
"""Data and logs of the last run."""

STOCK = {"MUG-01": 50, "TEAPOT-02": 20, "TRAY-03": 5, "LAMP-04": 5}
PRICES = {"MUG-01": 12_000, "TEAPOT-02": 48_000, "TRAY-03": 21_000, "LAMP-04": 96_000}
SETTLED_MOST = 30.0
"""Seconds after which the demo checks what is there, settled or not."""

COMPLETE = ("POST", "complete", None)
CANCEL = ("POST", "cancel", None)
MEMO = ("PUT", "memo", {"memo": "Please call before noon."})


def stories() -> list[Story]:
    return [
        Story("two mugs", "cyan", {"MUG-01": 2}, COMPLETE, expected="PREPARING"),
        Story("teapot and mugs", "green", {"TEAPOT-02": 1, "MUG-01": 4}, COMPLETE, expected="PREPARING"),
        Story("cancelled unpaid", "yellow", {"MUG-01": 1}, CANCEL, expected="CANCELLED"),
        Story("commented on", "magenta", {"TEAPOT-02": 1}, MEMO, expected="PLACED"),
        Story("three trays", "blue", {"TRAY-03": 3}, COMPLETE, expected="PREPARING"),
        Story("nine lamps", "red", {"LAMP-04": 9}, COMPLETE, expected="BACKORDERED"),
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
            "\n[bold]The way of each order[/], in milliseconds since its command; all read over REST\n"
        )
        watching = asyncio.create_task(self._watch())
        for story in self.stories:
            await self._tell_order_service(story)
        await watching
        self._summarise()
        return 0 if await self._check() else 1

    async def _seed(self) -> None:
        for sku, on_hand in STOCK.items():
            answer = await self.scm.put(f"/back-office/stock/{sku}", json={"onHand": on_hand})
            answer.raise_for_status()
        self.console.print("In stock: " + ", ".join(f"{count} {sku}" for sku, count in STOCK.items()))

    async def _tell_order_service(self, story: Story) -> None:
        """Places the order and gives the command of its story."""
        placed = await self.order.post("/orders", json=_order(story))
        placed.raise_for_status()
        story.id = placed.json()["id"]
        method, command, body = story.command
        answer = await self.order.request(method, f"/orders/{story.id}/{command}", json=body)
        answer.raise_for_status()

    async def _watch(self) -> None:
        """Prints each station of each order once it is passed, until all have settled."""
        try:
            async with asyncio.timeout(SETTLED_MOST):
                while not all([await self._settled(story) for story in self.stories]):
                    await asyncio.sleep(0.15)
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
        return story.settled

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
        checks.append(
            ("stock: what is set aside is what the invoiced orders need", await self._stock_adds_up())
        )
        for claim, holds in checks:
            self.console.print(f"  {'[green]✓[/]' if holds else '[red]✗[/]'} {claim}")
        failed = sum(not holds for _, holds in checks)
        self.console.print(f"\n{len(checks) - failed} of {len(checks)} checks hold.")
        return failed == 0

    async def _checks_of(self, story: Story) -> list[tuple[str, bool]]:
        order = (await self.order.get(f"/orders/{story.id}")).json()
        at_scm = await self.scm.get(f"/orders/{story.id}")
        invoices = (await self.scm.get("/external-api/invoices", params={"orderId": story.id})).json()
        checks = [(f"is {story.expected}", order["status"] == story.expected)]
        if not story.reaches_scm:
            checks.append(("SCM does not know it", at_scm.status_code == httpx.codes.NOT_FOUND))
            checks.append(("its events were held back", story.decisions == {"held_back"}))
        elif story.expected == "PREPARING":
            ids = [invoice["id"] for invoice in invoices]
            checks.append(("has exactly one invoice, and knows it", ids == [order["invoiceId"]]))
        else:
            checks.append(
                (
                    "SCM is short of stock for it, and issued no invoice",
                    at_scm.json().get("status") == "SHORT" and not invoices,
                )
            )
        return [(f"{story.name}: {claim}", holds) for claim, holds in checks]

    async def _stock_adds_up(self) -> bool:
        needed = dict.fromkeys(STOCK, 0)
        for story in self.stories:
            for sku, quantity in story.lines.items() if story.expected == "PREPARING" else ():
                needed[sku] += quantity
        stock = (await self.scm.get("/back-office/stock")).json()
        return {each["sku"]: each["reserved"] for each in stock} == needed


def _order(story: Story) -> dict[str, object]:
    return {
        "buyer": {"name": "Kim Ji-woo", "phoneNumber": "010-1234-5678"},
        "deliveryAddress": {
            "receiver": "Kim Ji-woo",
            "phoneNumber": "010-1234-5678",
            "postalCode": "06236",
            "street": "12 Teheran-ro",
            "city": "Seoul",
        },
        "orderLines": [
            {"sku": sku, "name": sku.title(), "quantity": quantity, "unitPrice": PRICES[sku]}
            for sku, quantity in story.lines.items()
        ],
    }
