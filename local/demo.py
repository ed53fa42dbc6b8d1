"""`make demo`: orders through the whole system, their events as they happen, and checks of the outcome."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from local.order import order_of
from local.output import background_console
from local.ports import Ports
from local.program import ProgramFailed
from local.reconcile import compare_settled
from local.scenario import Json, OrderState, Scenario, Step
from local.scenarios import NEW_ADDRESS, scenarios
from local.system import OPERATOR, running_system

FOLDER = Path(__file__).parent.parent / ".local" / "demo"
"""Data and logs of the last run."""

STOCK = {"MUG-01": 50, "TEAPOT-02": 20, "TRAY-03": 5, "LAMP-04": 5}
SUPPLIER = ("LAMP-04", "hanbit-lamps")
TIMEOUT = 60.0
"""Seconds after which the demo prints its checks, finished or not."""

_BODIES = {"memo": {"memo": "Please call before noon."}, "delivery-address": NEW_ADDRESS}


async def run_demo() -> int:
    """Run the demo on a fresh system, and return 0 if every check holds, 1 otherwise.

    Raises CannotStart, ProgramFailed and ServiceUnreadable.
    """
    with background_console() as console:
        return await _run(console)


async def _run(console: Console) -> int:
    console.print(
        "[bold]Starting[/] PostgreSQL, an SNS/SQS server and the services order, adapter, scm, console …"
    )
    async with (
        running_system(FOLDER, Ports.free(), fresh=True) as system,
        _client(system.ports.url("order")) as order,
        _client(system.ports.url("scm")) as scm,
        _client(system.ports.url("console")) as operations,
    ):
        return await Demo(console, order, scm, operations, scenarios()).run()


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers=OPERATOR, timeout=10, trust_env=False)


@dataclass
class Demo:
    """The scenarios on a running system; `operations` is a client of the console service."""

    console: Console
    order: httpx.AsyncClient
    scm: httpx.AsyncClient
    operations: httpx.AsyncClient
    scenarios: Sequence[Scenario]
    timeout: float = TIMEOUT

    async def run(self) -> int:
        """Return 0 when every check holds, 1 otherwise. Raises ProgramFailed and ServiceUnreadable."""
        try:
            await self._seed()
            for scenario in self.scenarios:
                placed = await _send(self.order, "POST", "/orders", order_of(scenario.lines))
                scenario.order_id = _json(placed)["id"]
        except httpx.HTTPError as error:
            raise ProgramFailed(f"the demo cannot begin: {_describe(error)}") from error
        self.console.print(
            "\n[bold]The events of each order[/], in milliseconds since the step before; all read over REST\n"
        )
        await self._follow_all()
        self._summarise()
        return 0 if await self._check() else 1

    async def _seed(self) -> None:
        for sku, on_hand in STOCK.items():
            await _send(self.scm, "PUT", f"/back-office/stock/{sku}", {"onHand": on_hand})
        sku, supplier = SUPPLIER
        await _send(self.scm, "PUT", f"/back-office/supplies/{sku}", {"supplier": supplier})
        self.console.print("In stock: " + ", ".join(f"{count} {sku}" for sku, count in STOCK.items()))

    async def _follow_all(self) -> None:
        """Take the steps of every scenario and print its events, until all are finished or time is up."""
        try:
            async with asyncio.timeout(self.timeout):
                while not all([await self._follow(scenario) for scenario in self.scenarios]):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            names = ", ".join(each.name for each in self.scenarios if not each.is_finished)
            self.console.print(f"[red]not finished after {self.timeout:g} s:[/] {names}")

    async def _follow(self, scenario: Scenario) -> bool:
        """Return whether the scenario is finished; if not, take the steps that it is ready for."""
        if scenario.is_finished:
            return True
        try:
            state = await self._read(scenario.order_id)
        except httpx.HTTPError as error:
            scenario.read_error = _describe(error)
            return False
        scenario.state, scenario.read_error = state, None
        for entry in scenario.new_entries():
            self.console.print(
                f"  [{scenario.colour}]{scenario.name:<16}[/] {entry.milliseconds:6.0f} ms  "
                f"{entry.name:<17} {entry.detail}"
            )
        steps = list(scenario.next_steps(state))
        if not steps:
            return scenario.is_finished
        await self._take(scenario, state, steps)
        return False

    async def _read(self, order_id: str) -> OrderState:
        """Raises httpx.HTTPError."""
        path = f"/orders/{order_id}"
        return OrderState(
            order=await _get(self.order, path),
            order_events=await _get(self.order, f"{path}/events"),
            fulfilment=await _get(self.scm, path, missing=None),
            scm_events=await _get(self.scm, f"{path}/events"),
        )

    async def _take(self, scenario: Scenario, state: OrderState, steps: Sequence[Step]) -> None:
        for step in steps:
            scenario.taken.append((datetime.now(UTC), step))
            try:
                await self._command(scenario.order_id, state, step)
            except httpx.HTTPError as error:
                scenario.step_error = f"{step.role}, {step.command}: {_describe(error)}"
                return

    async def _command(self, order_id: str, state: OrderState, step: Step) -> None:
        """Raises httpx.HTTPError."""
        match step.role:
            case "customer":
                body = _BODIES.get(step.command)
                path, method = f"/orders/{order_id}/{step.command}", "PUT" if body else "POST"
                await _send(self.order, method, path, body, may_conflict=step.may_conflict)
            case "carrier":
                path = f"/external-api/invoices/{state.order['invoiceId']}/{step.command}"
                await _send(self.scm, "POST", path)
            case "supplier":
                for purchase_order in state.purchase_orders:
                    await self._deliver(purchase_order)

    async def _deliver(self, purchase_order: Json) -> None:
        """Confirm a purchase order and deliver all of its goods."""
        path = f"/partner-office/purchase-orders/{purchase_order['id']}"
        await _send(self.scm, "POST", f"{path}/confirm")
        lines = [{"sku": line["sku"], "quantity": line["quantity"]} for line in purchase_order["lines"]]
        receipt = {"deliveryNote": f"DN-{purchase_order['id']}", "lines": lines}
        await _send(self.scm, "POST", f"{path}/receive", receipt)

    def _summarise(self) -> None:
        table = Table(title="\nOutcome", title_justify="left", title_style="bold", box=None)
        for column in ("order", "id", "status", "total"):
            table.add_column(column, justify="right" if column == "total" else "left")
        for scenario in self.scenarios:
            order = scenario.state.order if scenario.state else {}
            name, total = f"[{scenario.colour}]{scenario.name}[/]", f"{order.get('totalPrice', 0):,} won"
            table.add_row(name, scenario.order_id, order.get("status", "unknown"), total)
        self.console.print(table)

    async def _check(self) -> bool:
        """Print every check, and the lineage of the orders that failed one; return whether all hold."""
        self.console.print("\n[bold]Checks[/], over REST")
        results = [result for scenario in self.scenarios for result in await self._check_one(scenario)]
        report = await compare_settled(self.order, self.scm, timeout=10)
        claim = f"Order and SCM agree on all {report.orders} orders and on the stock"
        results.append(self._print_check(claim, holds=not report.count))
        for difference in report.differences:
            self.console.print(f"    {difference}", markup=False)
        self.console.print(f"\n{sum(results)} of {len(results)} checks hold.")
        return all(results)

    async def _check_one(self, scenario: Scenario) -> list[bool]:
        failed = scenario.failed_checks
        results = [
            self._print_check(f"{scenario.name}: {check.claim}", holds=check not in failed)
            for check in scenario.checks
        ]
        if scenario.step_error or not scenario.is_finished:
            if not failed:
                claim = f"{scenario.name}: every step is taken and every event has arrived"
                results.append(self._print_check(claim, holds=False))
            await self._explain(scenario)
        return results

    def _print_check(self, claim: str, *, holds: bool) -> bool:
        self.console.print(f"  {'[green]✓[/]' if holds else '[red]✗[/]'} {escape(claim)}")
        return holds

    async def _explain(self, scenario: Scenario) -> None:
        """Print the reason why a scenario is not as expected, and the lineage of its order."""
        for reason in filter(None, (scenario.step_error, scenario.read_error)):
            self.console.print(f"    {reason}", markup=False)
        path = f"/api/orders/{scenario.order_id}/lineage"
        try:
            lineage = await _get(self.operations, path)
        except httpx.HTTPError as error:
            self.console.print(f"    no lineage: {_describe(error)}", markup=False)
            return
        self.console.print(f"    lineage, {self.operations.base_url.join(path)}:", markup=False)
        for hop in lineage["hops"]:
            about = [hop["at"] or "not yet", hop["station"], hop["type"], hop["outcome"], hop["error"] or ""]
            self.console.print("      " + "  ".join(about).rstrip(), markup=False)
        for gap in lineage["gaps"]:
            self.console.print(f"      unknown: {gap['service']}: {gap['reason']}", markup=False)


_REQUIRED = object()


async def _get(client: httpx.AsyncClient, path: str, *, missing: Any = _REQUIRED) -> Any:
    """Return the JSON at a path, or `missing`, if given, for 404. Raises httpx.HTTPError."""
    answer = await client.get(path)
    if answer.status_code == httpx.codes.NOT_FOUND and missing is not _REQUIRED:
        return missing
    return _json(answer.raise_for_status())


async def _send(
    client: httpx.AsyncClient, method: str, path: str, body: Any = None, *, may_conflict: bool = False
) -> httpx.Response:
    """Raises httpx.HTTPError."""
    answer = await client.request(method, path, json=body)
    if not (may_conflict and answer.status_code == httpx.codes.CONFLICT):
        answer.raise_for_status()
    return answer


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise httpx.DecodingError(f"no JSON: {error}", request=answer.request) from error


def _describe(error: httpx.HTTPError) -> str:
    """One line: the request, and the answer or the reason why there is none."""
    request = f"{error.request.method} {error.request.url}"
    if isinstance(error, httpx.HTTPStatusError):
        return f"{request} answered {error.response.status_code}: {error.response.text.strip()}"
    return f"{request}: {str(error) or type(error).__name__}"
