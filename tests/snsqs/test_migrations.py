"""Migrations of the library's tables, by function and by command."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import psycopg
import pytest
import snsqs.migrations
from snsqs import Delivery
from snsqs.events import ApplicationEventPublisher
from snsqs.headers import SOURCE
from snsqs.inbox import Inbox
from snsqs.migrations import apply_migrations, migrate, migrations
from snsqs.postgres import NotMigrated, connect

from local.ports import HOST, free_ports
from local.postgres import Postgres
from tests.conftest import fresh_database
from tests.snsqs.queues import message
from tests.snsqs.stacks import STACKS

MIGRATIONS = Path(snsqs.migrations.__file__).parent
IDS = sorted(file.stem for file in MIGRATIONS.glob("*.sql"))


@pytest.fixture
async def empty_database(postgres_server: Postgres) -> AsyncIterator[str]:
    async with fresh_database(postgres_server, "template0") as url:
        yield url


async def check_migrated(url: str) -> None:
    async with connect(url, ApplicationEventPublisher()) as database:
        await database.check_migrated()


async def run_command(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command."""
    environment = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"} | variables
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "snsqs.migrations", *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_each_migration_is_applied_once(empty_database: str) -> None:
    """By URL or on the caller's connection; a second call has nothing to do."""
    with pytest.raises(NotMigrated, match="no table event_log, inbox, inbox_version: run `python -m snsqs"):
        await check_migrated(empty_database)
    connection = await asyncpg.connect(empty_database)
    assert await migrate(connection) == IDS
    assert await migrate(empty_database) == []
    assert await migrate(connection) == []
    await connection.close()
    await check_migrated(empty_database)


@pytest.mark.parametrize("stack", STACKS)
async def test_migrations_are_applied_on_every_stack(empty_database: str, stack: str) -> None:
    """In the transaction of the caller: a rollback leaves no table. A second call has nothing to do."""
    async with STACKS[stack](empty_database) as opened:
        with suppress(RuntimeError):
            async with opened.begin() as resource:
                assert await apply_migrations(opened.connection(resource)) == IDS
                raise RuntimeError("after the migrations")
        with pytest.raises(NotMigrated):
            await check_migrated(empty_database)
        for expected in (IDS, []):
            async with opened.begin() as resource:
                assert await apply_migrations(opened.connection(resource)) == expected
    await check_migrated(empty_database)
    assert await migrate(empty_database) == []


async def test_a_tool_of_the_user_runs_the_statements(empty_database: str) -> None:
    """Each by itself, in order; as they are idempotent, more than once. The driver is not asyncpg."""
    program = "import sys; sys.modules['asyncpg'] = None; import snsqs.migrations, snsqs.psycopg"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await process.wait() == 0
    async with await psycopg.AsyncConnection.connect(empty_database, autocommit=True) as connection:
        for migration in [*migrations(), *migrations()]:
            for statement in migration.statements:
                await connection.execute(statement.encode())
    await check_migrated(empty_database)


async def test_concurrent_calls_apply_each_migration_once(empty_database: str) -> None:
    """Several instances of a service may migrate when they start."""
    applied = await asyncio.gather(*(migrate(empty_database) for _ in range(5)))
    assert sorted(applied) == [[], [], [], [], IDS]


async def test_a_call_that_fails_changes_nothing(empty_database: str) -> None:
    """A table of the same name with other columns is in the way of the last migrations only."""
    connection = await asyncpg.connect(empty_database)
    await connection.execute("CREATE TABLE inbox (id integer)")
    with pytest.raises(asyncpg.UndefinedColumnError):
        await migrate(connection)
    assert await connection.fetchval("SELECT to_regclass('event_log')") is None
    await connection.close()


async def test_a_database_that_has_the_tables_already_keeps_its_rows(order_database: str) -> None:
    """Such as one that another tool migrated before `snsqs_migration` existed."""
    connection = await asyncpg.connect(order_database)
    await connection.execute("DROP TABLE snsqs_migration")
    await connection.execute("INSERT INTO inbox_version VALUES ('queue', '1', 3)")
    assert await migrate(connection) == IDS
    assert await connection.fetchval("SELECT sequence FROM inbox_version") == 3
    await connection.close()


async def test_versions_from_before_there_were_sources_are_kept(empty_database: str) -> None:
    """A filled table is migrated. Its rows have no source: no older version passes, whatever its source."""
    connection = await asyncpg.connect(empty_database)
    await connection.execute((MIGRATIONS / "0002.inbox.sql").read_text())
    await connection.execute("INSERT INTO inbox_version VALUES ('queue', '1', 3), ('queue', '2', 1)")
    await connection.execute((MIGRATIONS / "0001.event-log.sql").read_text())
    with pytest.raises(NotMigrated, match="no column source in inbox_version: run `python -m snsqs"):
        await check_migrated(empty_database)
    assert await migrate(connection) == IDS
    await check_migrated(empty_database)
    handled = []

    async def handler(delivery: Delivery) -> None:
        handled.append(delivery.message.sequence)

    async with connect(empty_database, ApplicationEventPublisher()) as database:
        for source, version in [("order", 2), ("order", 4), ("billing", 3), ("billing", 5), ("order", 3)]:
            sent = message(version=version, **{SOURCE: source})
            await Inbox(database)(Delivery((sent,), "queue", 1, datetime.now(UTC)), handler)
    assert handled == [4, 5]
    await connection.close()


async def test_the_command_names_what_it_applied(empty_database: str) -> None:
    """The URL is an argument, or the variable DATABASE_URL."""
    code, out, _ = await run_command("--database-url", empty_database)
    assert (code, out) == (0, f"applied: {', '.join(IDS)}\n")
    code, out, _ = await run_command(DATABASE_URL=empty_database)
    assert (code, out) == (0, "the database is up to date\n")


@pytest.mark.usefixtures("processes")
async def test_the_command_fails_with_one_line() -> None:
    """Without the password; exit code 2."""
    [port] = free_ports(1)
    code, out, err = await run_command("--database-url", f"postgresql://app:secret@{HOST}:{port}/orders")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: postgresql://app@{HOST}:{port}/orders: ")
    code, _, err = await run_command("--database-url", "postgresql://app@localhost:port/orders")
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = await run_command()
    assert code == 2
    assert "no database: give --database-url or set DATABASE_URL" in err


async def test_a_table_in_use_ends_the_migration(empty_database: str) -> None:
    """After 5 s, because everything else on the table waits behind it; the next call succeeds."""
    await migrate(empty_database)
    using = await asyncpg.connect(empty_database)
    await using.execute("DELETE FROM snsqs_migration WHERE id = $1", IDS[-1])
    async with using.transaction():
        await using.execute("LOCK TABLE event_log IN ACCESS SHARE MODE")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await migrate(empty_database)
    assert await migrate(empty_database) == IDS[-1:]
    await using.close()
