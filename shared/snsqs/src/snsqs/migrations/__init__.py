"""Migrations of the library's tables: `event_log`, `inbox`, `inbox_version`.

    await migrate("postgresql://app@localhost/orders")

or, on the command line, `python -m snsqs.migrations --database-url postgresql://app@localhost/orders`. Both
need asyncpg: `pip install snsqs[postgres]`. With another driver:

    async with sessions.begin() as session:
        await apply_migrations(SqlAlchemySession(session))

The migrations are the SQL files of this package, in order of their names; a migration tool of your own, such
as Alembic, takes their statements from `migrations()`. The table `snsqs_migration` has those that are
applied.
"""

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from snsqs.sql import SqlConnection

if TYPE_CHECKING:
    import asyncpg

__all__ = [
    "Migration",
    "apply_migrations",
    "migrate",
    "migrations",
]

# The key serialises concurrent calls.
LOCK = "SELECT pg_advisory_xact_lock(5310072)"

# Every statement on a table waits behind a migration that waits for its lock, and a process that is frozen
# must not hold the lock.
TIMEOUTS = (
    "SET LOCAL lock_timeout = '5s'",
    "SET LOCAL idle_in_transaction_session_timeout = '20s'",
)

CREATE_TABLE = """
    CREATE TABLE IF NOT EXISTS snsqs_migration (
        id         text PRIMARY KEY,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""

APPLIED = "SELECT id FROM snsqs_migration"

RECORD = "INSERT INTO snsqs_migration (id) VALUES ($1)"

_END_OF_STATEMENT = re.compile(r";[ \t]*(?:--[^\n]*)?(?:\n|$)")
_COMMENT = re.compile(r"\s*--[^\n]*")


@dataclass(frozen=True)
class Migration:
    """One change of the tables."""

    id: str
    statements: tuple[str, ...]
    """SQL without parameters; each is idempotent."""


def migrations() -> list[Migration]:
    """Return all migrations, in the order in which they are applied."""
    texts = {
        file.name: file.read_text("utf-8") for file in files(__name__).iterdir() if file.name.endswith(".sql")
    }
    return [Migration(name.removesuffix(".sql"), _statements(texts[name])) for name in sorted(texts)]


async def apply_migrations(connection: SqlConnection) -> list[str]:
    """Apply the migrations that are new to the database, and return their ids. Raises the driver's errors.

    They are applied in the transaction of the connection, which the caller commits: a rollback leaves
    nothing. Concurrent calls wait for each other. A table that is in use for longer than 5 s is an error;
    repeat the call then.
    """
    for statement in (LOCK, *TIMEOUTS, CREATE_TABLE):
        await connection.execute(statement)
    applied = {row["id"] for row in await connection.fetch(APPLIED)}
    new = [migration for migration in migrations() if migration.id not in applied]
    for migration in new:
        for statement in migration.statements:
            await connection.execute(statement)
        await connection.execute(RECORD, migration.id)
    return [migration.id for migration in new]


async def migrate(database: "asyncpg.Connection | str") -> list[str]:
    """Apply the migrations that are new to the database, and return their ids.

    `database` is a URL or an open connection. All migrations are applied in one transaction, so a call that
    fails changes nothing; concurrent calls wait for each other. A table that is in use for longer than 5 s
    is an error, `asyncpg.LockNotAvailableError`; repeat the call then. Raises what asyncpg raises.
    """
    if not isinstance(database, str):
        async with database.transaction():
            return await apply_migrations(database)
    import asyncpg

    connection = await asyncpg.connect(database, timeout=10)
    try:
        return await migrate(connection)
    finally:
        await connection.close()


def _statements(text: str) -> tuple[str, ...]:
    """Split a file at the semicolons that end a line. Drivers prepare one statement at a time."""
    parts = _END_OF_STATEMENT.split(text)
    return tuple(part.strip() for part in parts if _COMMENT.sub("", part).strip())
