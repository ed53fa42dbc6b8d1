"""Audit: append-only record of what operators did to the messages, written before anything moves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from snsqs.postgres import Connection, Database, DatabaseUnavailable

log = structlog.get_logger(__name__)

Record = dict[str, Any]
"""`position`, `at`, `who`, `what`, and the details of what was done."""

APPEND = "INSERT INTO audit (who, what, details) VALUES ($1, $2, $3)"

NEWEST_FIRST = """
    SELECT position, at, who, what, details
    FROM audit
    WHERE $1::bigint IS NULL OR position < $1
    ORDER BY position DESC
    LIMIT $2
"""

OLDEST_FIRST = """
    SELECT position, at, who, what, details
    FROM audit
    WHERE $1::bigint IS NULL OR position > $1
    ORDER BY position
    LIMIT $2
"""


class AuditUnavailable(Exception):
    """The audit cannot be written because the console's database is unavailable. Nothing was moved; retry
    later."""


async def append(connection: Connection, who: str, what: str, **details: Any) -> None:
    """Append a record in the transaction of the caller."""
    await connection.execute(APPEND, who, what, details)
    log.info("audit", who=who, what=what, **details)


class Audit:
    """The console's `audit` table; every record is also logged."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, who: str, what: str, **details: Any) -> None:
        """Return when the record is committed. Raises AuditUnavailable."""
        try:
            async with self._database.transaction() as tx:
                await append(tx.connection, who, what, **details)
        except DatabaseUnavailable as error:
            raise AuditUnavailable(f"audit not written, so nothing was done: {error}") from error

    @asynccontextmanager
    async def recorded(self, who: str, what: str, **details: Any) -> AsyncIterator[Record]:
        """Write one record before the body, and one after it with what the body adds to the yielded dict.

        Raises AuditUnavailable before the body begins, and only then: the effect of the body stands.
        """
        await self.write(who, what, step="begun", **details)
        outcome: Record = {}
        try:
            yield outcome
        except BaseException as error:
            outcome.setdefault("error", str(error) or type(error).__name__)
            raise
        finally:
            try:
                await self.write(who, what, step="ended", **details, **outcome)
            except AuditUnavailable as error:
                log.error("audit incomplete", error=str(error), who=who, what=what, **outcome)

    async def page(self, limit: int, *, after: int | None = None, oldest_first: bool = False) -> list[Record]:
        """Return up to `limit` records that follow the position `after`. Raises DatabaseUnavailable."""
        statement = OLDEST_FIRST if oldest_first else NEWEST_FIRST
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement, after, limit)
        return [_record(**row) for row in rows]


def _record(details: Record, **columns: Any) -> Record:
    return columns | details
