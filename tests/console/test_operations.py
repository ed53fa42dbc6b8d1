"""Operations and audit in the console's database: durable, shared by its instances, exportable."""

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from snsqs import AwsClients
from typer.testing import CliRunner

from services.console.main import cli
from tests.console.databases import DetachableDatabase
from tests.console.letters import (
    DEAD_LETTERS,
    DeadLetterFixture,
    begin,
    dead_letter_fixture,
    do,
    ended,
    letters,
    orders,
    refused,
)
from tests.serving import OPERATOR, Served, console_service, eventually


@pytest.fixture
async def dead(aws: AwsClients) -> DeadLetterFixture:
    return await dead_letter_fixture(aws)


async def operations(console: Served, **query: Any) -> list[dict[str, Any]]:
    answer = await console.http.get("/api/operations", params=query, headers=OPERATOR)
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()
    return found


async def audit(console: Served, **query: Any) -> list[dict[str, Any]]:
    answer = await console.http.get("/api/audit", params=query, headers=OPERATOR)
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()
    return found


async def test_operations_and_audit_survive_a_restart(
    console_database: str, aws_url: str, adapter: Served, dead: DeadLetterFixture
) -> None:
    """Another process on the same database shows the same."""
    await dead.add(*orders(2))
    async with console_service(console_database, aws_url, adapter.registration) as before:
        done = await do(before, "redrive")
        records = await audit(before)
    async with console_service(console_database, aws_url) as after:
        assert await operations(after) == [done]
        assert await audit(after) == records
    assert (done["status"], done["done"], len(records)) == ("done", 2, 3)


async def test_instances_share_their_operations(
    console: Served, console_database: str, aws_url: str, adapter: Served, dead: DeadLetterFixture
) -> None:
    """One that runs at the first instance is listed, excludes others, and is cancelled at the second."""
    await dead.add(*orders(8))
    async with console_service(console_database, aws_url, adapter.registration) as second:
        begun = await begin(console, "redrive", perSecond=2)

        async def has_progress() -> bool:
            [listed] = await operations(second)
            return bool(listed["id"] == begun["id"] and listed["done"])

        await eventually(has_progress)
        status, detail = await refused(second, "discard")
        assert (status, detail) == (409, f"redrive {begun['id']} of developer runs on {DEAD_LETTERS}")
        await second.http.post(f"/api/operations/{begun['id']}/cancel", headers=OPERATOR)
        cancelled = await ended(second, begun)
    assert cancelled["status"] == "cancelled"
    assert 1 <= cancelled["done"] < 8
    assert await dead.counts() == (cancelled["done"], 8 - cancelled["done"])


async def test_an_operation_of_a_dead_instance_fails(console: Served, console_database: str) -> None:
    """Its heartbeat is too old; it is recorded, and its queue is free again."""
    connection = await asyncpg.connect(console_database)
    operation_id = await connection.fetchval(
        "INSERT INTO operation (id, what, who, target, dry_run, status, began_at, progress, heartbeat_at) "
        "VALUES (gen_random_uuid(), 'redrive', 'kim', $1, false, 'running', now() - interval '1 minute', "
        '\'{"selected": 3, "done": 2, "failed": 0}\', now() - interval \'31 seconds\') RETURNING id',
        DEAD_LETTERS,
    )
    await connection.close()
    failed = await ended(console, {"id": str(operation_id)})
    assert (failed["status"], failed["done"]) == ("failed", 2)
    assert failed["error"].startswith("interrupted: ")
    [record] = await audit(console)
    assert (record["who"], record["step"], record["operation"]) == ("kim", "ended", str(operation_id))
    assert (record["status"], record["done"], record["error"]) == ("failed", 2, failed["error"])


async def test_without_the_database_nothing_moves(
    console_database: str, aws_url: str, adapter: Served, dead: DeadLetterFixture, tmp_path: Path
) -> None:
    """Commands are refused with 503; browsing works. Afterwards everything works without a restart."""
    await dead.add(*orders(1))
    database = DetachableDatabase(console_database, tmp_path)
    async with console_service(database.url, aws_url, adapter.registration) as console:
        async with database.unavailable():
            for what in ("redrive", "discard"):
                status, detail = await refused(console, what)
                assert status == 503
                assert detail.startswith("audit not written, so nothing was done: ")
            assert len(await letters(console)) == 1
            answer = await console.http.get("/api/operations", headers=OPERATOR)
            assert answer.status_code == 503
        assert await dead.counts() == (0, 1)
        assert await operations(console) == []
        assert (await do(console, "discard"))["done"] == 1


async def is_degraded(console: Served) -> bool:
    checks = (await console.http.get("/readyz")).json()["checks"]
    return bool(checks["operations"] != "ok")


async def test_an_operation_stops_when_the_database_is_lost(
    console_database: str,
    aws_url: str,
    adapter: Served,
    dead: DeadLetterFixture,
    tmp_path: Path,
) -> None:
    """Nothing is moved without an audit record; its end is stored once the database is back."""
    await dead.add(*orders(6))
    database = DetachableDatabase(console_database, tmp_path)
    async with console_service(database.url, aws_url, adapter.registration) as console:
        begun = await begin(console, "redrive", perSecond=2)

        async def has_progress() -> bool:
            [listed] = await operations(console)
            return bool(listed["done"])

        await eventually(has_progress)
        async with database.unavailable():
            await eventually(lambda: is_degraded(console))
        failed = await ended(console, begun)
    assert failed["status"] == "failed"
    assert failed["error"].startswith("AuditUnavailable: ")
    assert await dead.counts() == (failed["done"], 6 - failed["done"])


async def test_everything_is_exported(console: Served, dead: DeadLetterFixture) -> None:
    """Page by page over REST, and as JSON lines on the command line, oldest first."""
    for _ in range(3):
        await do(console, "discard", dryRun=True)
    first = await console.http.get("/api/audit", params={"limit": 4, "oldestFirst": True}, headers=OPERATOR)
    rest = await console.http.get(first.links["next"]["url"], headers=OPERATOR)
    assert [each["step"] for each in first.json() + rest.json()] == ["begun", "ended"] * 3
    assert "next" not in rest.links
    newest = await audit(console, limit=4)
    older = await audit(console, after=newest[-1]["position"])
    assert newest + older == list(reversed(first.json() + rest.json()))
    listed = await operations(console, limit=2)
    assert len(listed + await operations(console, limit=2, after=listed[-1]["id"])) == 3

    async def exported(*arguments: str) -> list[dict[str, Any]]:
        env = {"CONSOLE_URL": console.url}
        result = await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=env)
        assert result.exit_code == 0
        return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]

    assert await exported("audit", "--export") == first.json() + rest.json()
    assert await exported("operations", "list", "--export") == await operations(console)
