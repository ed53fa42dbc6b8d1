"""Migrations of the library's tables: `event_log`, `inbox`, `inbox_version`.

    await migrate("postgresql://app@localhost/orders")

or, on the command line, `python -m snsqs.migrations --database-url postgresql://app@localhost/orders`.

The migrations are the SQL files of this package, in order of their names. The table `snsqs_migration` has
those that are applied. Needs asyncpg: `pip install snsqs[postgres]`.
"""

from importlib.resources import files

import asyncpg

__all__ = [
    "migrate",
]

_LOCK_KEY = 5_310_072
"""Key of the advisory lock that serialises concurrent calls."""

# Every statement on a table waits behind a migration that waits for its lock, and a process that is frozen
# must not hold the lock.
SET_TIMEOUTS = """
    SET LOCAL lock_timeout = '5s';
    SET LOCAL idle_in_transaction_session_timeout = '20s';
"""

CREATE_TABLE = """
    CREATE TABLE IF NOT EXISTS snsqs_migration (
        id         text PRIMARY KEY,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""


async def migrate(database: asyncpg.Connection | str) -> list[str]:
    """Apply the migrations that are new to the database, and return their ids.

    `database` is a URL or an open connection. All migrations are applied in one transaction, so a call that
    fails changes nothing; concurrent calls wait for each other. A table that is in use for longer than 5 s
    is an error, `asyncpg.LockNotAvailableError`; repeat the call then. Raises what asyncpg raises.
    """
    if not isinstance(database, str):
        return await _migrate(database)
    connection = await asyncpg.connect(database, timeout=10)
    try:
        return await _migrate(connection)
    finally:
        await connection.close()


async def _migrate(connection: asyncpg.Connection) -> list[str]:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK_KEY)
        await connection.execute(SET_TIMEOUTS)
        await connection.execute(CREATE_TABLE)
        applied = {row["id"] for row in await connection.fetch("SELECT id FROM snsqs_migration")}
        new = {name: sql for name, sql in _migrations().items() if name not in applied}
        for name, sql in new.items():
            await connection.execute(sql)
            await connection.execute("INSERT INTO snsqs_migration (id) VALUES ($1)", name)
        return list(new)


def _migrations() -> dict[str, str]:
    """Return the SQL of each migration by its id, in order."""
    found = {file.name: file for file in files(__name__).iterdir() if file.name.endswith(".sql")}
    return {name.removesuffix(".sql"): found[name].read_text("utf-8") for name in sorted(found)}
