"""Connections and transactions of any PostgreSQL driver, as outbox, inbox and retention use them.

| stack | transactions | connection |
|---|---|---|
| asyncpg | `snsqs.postgres.Database` | any asyncpg connection |
| SQLAlchemy | `snsqs.sqlalchemy.SqlAlchemyDatabase` | `SqlAlchemySession`, `SqlAlchemyConnection` |
| psycopg 3 | `snsqs.psycopg.PsycopgDatabase` | `PsycopgConnection` |

The transactions are an argument of `Inbox`, `Relay` and `Retention`. The connection is one of
`EventLog.append`, `received`, `history`, `read_backlog`, `parked_events` and `resubmit`, which run in the
caller's transaction.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from snsqs._database_errors import DatabaseUnavailable, OutcomeUnknown, StatementTimeout, Unstorable

__all__ = [
    "DatabaseUnavailable",
    "OutcomeUnknown",
    "SqlConnection",
    "SqlRow",
    "SqlTransaction",
    "StatementTimeout",
    "TransactionManager",
    "Unstorable",
]


class SqlRow(Protocol):
    """Row of a result, by names of columns: an asyncpg Record, a mapping."""

    def keys(self) -> Iterable[str]: ...
    def __getitem__(self, column: str, /) -> Any: ...


class SqlConnection(Protocol):
    """Connection that runs statements with the parameters `$1`, `$2`, …, in the caller's transaction.

    Values have the driver's types for text, bigint, float8, uuid, timestamptz and interval, `list` for arrays
    and `str` for json. An asyncpg connection is a SqlConnection.
    """

    async def execute(self, query: str, /, *args: Any) -> object:
        """Run a statement; its result is ignored."""
        ...

    async def fetch(self, query: str, /, *args: Any) -> Sequence[SqlRow]:
        """Return all rows."""
        ...

    async def fetchrow(self, query: str, /, *args: Any) -> SqlRow | None:
        """Return the first row, or None if there is none."""
        ...


class SqlTransaction(Protocol):
    """A transaction that is open."""

    @property
    def connection(self) -> SqlConnection:
        """Runs the library's statements in this transaction."""
        ...

    @property
    def resource(self) -> object:
        """Argument of handlers in this transaction: the object with which the stack's users write."""
        ...


class TransactionManager(Protocol):
    """Opens transactions. Safe to share between tasks."""

    @property
    def provides(self) -> tuple[type, ...]:
        """Types of handler parameters that receive the transaction's `resource`."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[SqlTransaction, bool | None]:
        """Commit when the body ends, roll back when it raises. Raises DatabaseUnavailable and Unstorable,
        also for statements of the body."""
        ...
