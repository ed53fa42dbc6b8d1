"""The registry: services register themselves, and the console's tools use what is registered."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from typer.testing import CliRunner

from local.ports import HOST, free_ports
from local.postgres import Postgres
from services.console.main import cli
from shared.runtime.tokens import bearer, development_token
from tests.adapter.test_adapter import subscribe
from tests.console.operated import Operated, operated
from tests.console.test_lineage import invoiced
from tests.console.test_replay import replay
from tests.console.test_stations import stations
from tests.serving import (
    DOWN,
    OPERATOR,
    SERVICE,
    Served,
    console_service,
    eventually,
    order_service,
    register,
)
from tests.snsqs.relays import run
from tests.system.test_flow import completed_order, get, stock

ORDERS = "scm-adapter-order-event-queue"

OVERDUE = "UPDATE registration SET renewed_at = now() - make_interval(secs => $1) WHERE instance = $2"


@pytest.fixture(scope="module")
async def system(postgres_server: Postgres, aws_server: str) -> AsyncIterator[Operated]:
    async with operated(postgres_server, aws_server) as running:
        await stock(running.scm, mug=1_000)
        yield running


@pytest.fixture
async def empty(console_database: str, aws_server: str) -> AsyncIterator[Served]:
    """A console with which nothing is registered."""
    async with console_service(console_database, aws_server) as served:
        yield served


async def states(console: Served, service: str) -> dict[str, str]:
    """Return the states of the service's instances by name."""
    found = [each for each in await get(console, "/api/services") if each["name"] == service]
    return (
        {each["registration"]["instance"]: each["state"] for each in found[0]["instances"]} if found else {}
    )


async def test_a_service_registers_and_deregisters(
    order_database: str, empty: Served, aws_server: str
) -> None:
    """With its address, and what it publishes and consumes. When it has stopped, it is still known."""
    [port] = free_ports(1)
    settings = {"console_url": empty.url, "service_version": "1.2.3"}
    async with order_service(
        order_database, aws_server, DOWN, port, **settings, advertised_url=f"http://{HOST}:{port}"
    ):

        async def is_registered() -> Any:
            return await states(empty, "order")

        assert list((await eventually(is_registered)).values()) == ["registered"]
        [service] = await get(empty, "/api/services")
        about = service["instances"][0]["registration"]
        assert (about["url"], about["version"]) == (f"http://{HOST}:{port}", "1.2.3")
        assert "OrderCompleted" in about["publishes"]
        [queue] = about["queues"]
        assert (queue["queue"], queue["topics"]) == ("order-adapter-scm-event-queue", ["scm-events"])
        assert "ParcelDispatched" in queue["eventTypes"]
        [status] = (await get(empty, "/api/stations"))["services"]
        assert (status["id"], status["status"]) == ("order", "up")
    assert list((await states(empty, "order")).values()) == ["stopped"]

    async def is_shown_as_down() -> Any:
        [status] = (await get(empty, "/api/stations"))["services"]
        return status["status"] == "down" and status

    assert (await eventually(is_shown_as_down))["trouble"].startswith("stopped at ")


async def test_a_service_works_without_the_console(
    order_database: str, console_database: str, aws_server: str
) -> None:
    """It registers as soon as the console answers."""
    [port] = free_ports(1)
    console_url = f"http://{HOST}:{port}"
    async with order_service(order_database, aws_server, DOWN, console_url=console_url) as order:
        assert (await order.http.get("/readyz")).json()["checks"]["database"] == "ok"
        await completed_order(order, mug=1)
        async with console_service(console_database, aws_server, listens_on=port) as console:

            async def is_registered() -> Any:
                return await states(console, "order")

            await eventually(is_registered)


async def test_only_services_register(empty: Served, system: Operated) -> None:
    """Each only itself, because operators' tokens are sent to its address, and under the path that its body
    names."""
    registration = system.order.registration
    body, path = registration.model_dump(mode="json", by_alias=True), f"order/{registration.instance}"
    for headers, service, status in (
        ({}, path, 401),
        (OPERATOR, path, 403),
        (SERVICE, f"scm/{registration.instance}", 403),
        (SERVICE, "order/another-instance", 422),
        (SERVICE, "Order!/1", 422),
    ):
        answer = await empty.http.put(f"/api/registrations/{service}", json=body, headers=headers)
        assert answer.status_code == status, answer.text
    invalid = body | {"url": "file:///etc/passwd"}
    answer = await empty.http.put(f"/api/registrations/{path}", json=invalid, headers=SERVICE)
    assert (answer.status_code, await get(empty, "/api/services")) == (422, [])
    of_scm = bearer(development_token("scm"))
    assert (await empty.http.delete(f"/api/registrations/{path}", headers=of_scm)).status_code == 403


async def test_an_instance_that_vanished_is_stale(empty: Served, system: Operated) -> None:
    """It is marked, and forgotten after ten minutes when another instance is registered."""
    gone = system.order.registered_at(DOWN)
    await register(empty, gone)
    await run(empty.database, OVERDUE, 31, gone.instance)
    await register(empty, system.order.registration)
    assert await states(empty, "order") == {
        gone.instance: "stale",
        system.order.registration.instance: "registered",
    }
    [status] = (await get(empty, "/api/stations"))["services"]
    assert (status["status"], status["trouble"]) == ("up", None)
    assert [each["status"] for each in status["instances"]] == ["up", "stale"]
    await run(empty.database, OVERDUE, 601, gone.instance)
    await register(empty, system.order.registration)
    assert await states(empty, "order") == {system.order.registration.instance: "registered"}


async def test_a_read_is_answered_by_another_instance(empty: Served, system: Operated) -> None:
    """One that does not respond is passed over, although it registered last."""
    await register(empty, system.order.registration)
    await register(empty, system.order.registered_at(DOWN))
    answer = await empty.http.get("/api/listeners", headers=OPERATOR)
    assert [each["service"] for each in answer.json()["listeners"]] == ["order"]
    assert answer.json()["gaps"] == []
    [status] = (await get(empty, "/api/stations"))["services"]
    assert status["status"] == "up"
    assert status["trouble"].startswith("1 of 2 instances: ")


async def test_an_operator_removes_a_service(empty: Served, system: Operated) -> None:
    """One that has stopped for ever; not one that runs."""
    await register(empty, system.order.registration)
    path = f"/api/registrations/order/{system.order.registration.instance}"
    assert (await empty.http.delete("/api/services/order", headers=OPERATOR)).status_code == 409
    (await empty.http.delete(path, headers=SERVICE)).raise_for_status()
    assert (await empty.http.delete("/api/services/order", headers=SERVICE)).status_code == 403
    assert (await empty.http.delete("/api/services/order", headers=OPERATOR)).status_code == 204
    assert await get(empty, "/api/services") == []
    assert (await empty.http.delete("/api/services/order", headers=OPERATOR)).status_code == 404


async def test_the_same_on_the_command_line(empty: Served, system: Operated) -> None:
    """Listed, and removed once it has stopped."""

    async def command(*arguments: str) -> tuple[int, str]:
        result = await asyncio.to_thread(CliRunner().invoke, cli, arguments, env={"CONSOLE_URL": empty.url})
        return result.exit_code, result.output

    await register(empty, system.order.registered_at(DOWN))
    code, printed = await command("services", "list")
    assert code == 0
    assert all(word in printed for word in ("order", "instance-1", "registered", "development", DOWN))
    code, printed = await command("services", "remove", "order")
    assert code == 2
    assert "service 'order' has an instance that runs; stop it first" in printed
    await empty.http.delete("/api/registrations/order/instance-1", headers=SERVICE)
    code, printed = await command("services", "remove", "order")
    assert (code, printed.splitlines()[-1]) == (0, "order removed")


async def test_the_figures_are_those_of_all_instances(system: Operated) -> None:
    """The messages that two instances of SCM handled, added up."""
    before = (await stations(system.console))[f"listener:{ORDERS}"]["counts"].get("handled", 0)
    async with system.another_scm() as other:
        await register(system.console, other.registration)
        for order_id in [await completed_order(system.order, mug=1) for _ in range(8)]:
            await eventually(lambda order_id=order_id: invoiced(system.order, order_id))  # type: ignore[misc]

        async def are_counted() -> bool:
            station = (await stations(system.console))[f"listener:{ORDERS}"]
            return bool(station["counts"].get("handled", 0) - before == 8)

        await eventually(are_counted)
        found = await get(system.console, "/api/stations")
        [scm] = [each for each in found["services"] if each["id"] == "scm"]
        assert [each["status"] for each in scm["instances"]] == ["up", "up"]


async def test_a_queue_of_an_unknown_consumer_is_foreign_and_leaves_no_proof(
    system: Operated, console_database: str
) -> None:
    """A replay cannot know what its consumer did: it is named, and nothing is said to be unchanged."""
    await subscribe(system.aws, "order-events")
    order_id = await completed_order(system.order, mug=1)
    await eventually(lambda: invoiced(system.order, order_id))

    registered = [each.registration for each in (system.order, system.adapter, system.scm)]
    async with console_service(console_database, system.aws_url, *registered) as console:
        found = await stations(console)
        assert {name for name, each in found.items() if each["isForeign"]} == {"queue:all-of-it"}
        assert found["queue:all-of-it"]["feeds"] == []
        done = await replay(console, {"orderId": order_id})
    assert (done["status"], done["proof"]["unchanged"]) == ("done", None)
    assert done["error"] == "not checked: all-of-it, a queue that no registered service listens to"
