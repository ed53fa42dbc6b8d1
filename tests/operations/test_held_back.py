"""Events that no route matched are released after the routes have changed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from local.ports import HOST, free_ports
from services.adapter.main import create_app as create_adapter
from services.adapter.settings import RoutesSettings
from services.adapter.settings import Settings as AdapterSettings
from services.console.main import cli
from tests.order.test_api import place
from tests.serving import OPERATOR, SERVICE, Served, console_service, eventually, order_service, serving

SHIPPED = RoutesSettings().routes_file.read_text()
WITHOUT_MEMOS = SHIPPED.replace('type = "MemoWritten"', 'type = "AnotherType"').replace(
    "MemoWritten = []", "MemoWritten = []\nAnotherType = []"
)
MEMOS_LEAVE = SHIPPED.replace("MemoWritten = []", 'MemoWritten = ["id", "memo"]').replace(
    'type = "MemoWritten"\nhold_back = true', 'type = "MemoWritten"\ntopic = "order-events"'
)


@asynccontextmanager
async def routed(aws_url: str, port: int, file: Path, text: str) -> AsyncIterator[Served]:
    """An adapter with these routes."""
    await asyncio.to_thread(file.write_text, text)
    settings = AdapterSettings(environment="development", aws_endpoint_url=aws_url, routes_file=file)
    async with serving(create_adapter(settings), port) as adapter:
        yield adapter


@dataclass(frozen=True)
class Held:
    """Order and console, and orders whose memo no route matched. A route for memos has been added since."""

    order: Served
    console: Served
    ids: list[str]

    async def post(self, **command: Any) -> Any:
        answer = await self.console.http.post(
            "/api/held-back/release", json={"service": "order"} | command, headers=OPERATOR
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def memo_is(self, order_id: str, decision: str, rule: str) -> bool:
        published = (await self.order.http.get(f"/orders/{order_id}/events")).json()["published"]
        [memo] = [each for each in published if each["type"] == "MemoWritten"]
        return (memo["decision"], memo["rule"]) == (decision, rule)


@pytest.fixture
async def held(
    order_database: str, console_database: str, aws_url: str, tmp_path: Path
) -> AsyncIterator[Held]:
    [port] = free_ports(1)
    file = tmp_path / "routes.toml"
    async with order_service(order_database, aws_url, f"http://{HOST}:{port}") as order:
        async with routed(aws_url, port, file, WITHOUT_MEMOS):
            ids = [await place(order) for _ in range(3)]
            for order_id in ids:
                answer = await order.http.put(f"/orders/{order_id}/memo", json={"memo": "ring twice"})
                answer.raise_for_status()
            before = Held(order, order, ids)
            for order_id in ids:
                await eventually(partial(before.memo_is, order_id, "held_back", "no-route"))
        async with (
            routed(aws_url, port, file, MEMOS_LEAVE) as adapter,
            console_service(console_database, aws_url, order.registration, adapter.registration) as console,
        ):
            yield Held(order, console, ids)


async def test_events_are_decided_again(held: Held) -> None:
    """By the present routes; those of other rules stay."""
    assert (await held.post(selection={"all": True}))["events"] == 3
    for order_id in held.ids:
        await eventually(partial(held.memo_is, order_id, "forwarded", "memos-stay-here"))
        published = (await held.order.http.get(f"/orders/{order_id}/events")).json()["published"]
        assert published[0]["rule"] == "placed-is-not-paid"
    assert (await held.post(selection={"all": True}))["events"] == 0


async def test_a_dry_run_shows_the_decisions_of_the_present_routes(held: Held) -> None:
    """It releases nothing."""
    found = await held.post(selection={"type": "MemoWritten"}, dryRun=True)
    decision = {"type": "MemoWritten", "decision": "forwarded", "rule": "memos-stay-here", "events": 3}
    assert found == {"events": 3, "decisions": [decision]}
    assert await held.memo_is(held.ids[0], "held_back", "no-route")


async def test_what_is_selected_is_released(held: Held) -> None:
    """By order or rule; nothing without a selection."""
    assert (await held.post(selection={"orderId": held.ids[0]}))["events"] == 1
    await eventually(partial(held.memo_is, held.ids[0], "forwarded", "memos-stay-here"))
    assert await held.memo_is(held.ids[1], "held_back", "no-route")
    other = await held.post(selection={"all": True}, rule="placed-is-not-paid", dryRun=True)
    assert (other["events"], other["decisions"][0]["decision"]) == (3, "held_back")
    answer = await held.console.http.post(
        "/api/held-back/release", json={"service": "order", "selection": {}}, headers=OPERATOR
    )
    assert answer.status_code == 422


async def test_a_release_is_audited(held: Held) -> None:
    """Before and after it, with the operator, the selection and the events."""
    await held.post(selection={"orderId": held.ids[0]})
    answer = await held.console.http.get("/api/audit", headers=OPERATOR)
    ended, begun = answer.json()
    for record in (begun, ended):
        assert (record["who"], record["what"], record["on"]) == ("developer", "release", "order")
        assert record["selection"]["orderId"] == held.ids[0]
    assert (begun["step"], ended["step"], ended["done"], len(ended["events"])) == ("begun", "ended", 1, 1)


@pytest.mark.parametrize(("headers", "status"), [({}, 401), (SERVICE, 403)])
async def test_only_operators_release(held: Held, headers: dict[str, str], status: int) -> None:
    """At the service itself as well as at the console."""
    body: dict[str, Any] = {"rule": "no-route", "selection": {"all": True}}
    answer = await held.order.http.post("/event-log/release", json=body, headers=headers)
    assert answer.status_code == status
    body["service"] = "order"
    answer = await held.console.http.post("/api/held-back/release", json=body, headers=headers)
    assert answer.status_code == status


async def test_the_same_on_the_command_line(held: Held) -> None:
    """`held-back release`, with and without --dry-run."""

    async def command(*arguments: str) -> tuple[int, list[str]]:
        given = ("held-back", "release", "--service", "order", *arguments)
        env = {"CONSOLE_URL": held.console.url}
        result = await asyncio.to_thread(CliRunner().invoke, cli, given, env=env)
        return result.exit_code, [line for line in result.stdout.splitlines() if not line.startswith("[")]

    code, (first, _, row) = await command("--type", "MemoWritten", "--dry-run")
    assert (code, first) == (0, "dry run: would release 3")
    assert row.split() == ["MemoWritten", "forwarded", "memos-stay-here", "3"]
    assert await command("--all") == (0, ["released 3"])
    assert (await command())[0] == 2
