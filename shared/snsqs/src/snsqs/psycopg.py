"""psycopg 3 as the database of outbox and inbox.

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool
    from snsqs.inbox import Inbox
    from snsqs.outbox import EventLog
    from snsqs.psycopg import PsycopgConnection, PsycopgDatabase

    async def place(order_id: str, pool: AsyncConnectionPool, event_log: EventLog) -> None:
        async with pool.connection() as connection:
            await connection.execute("INSERT INTO orders VALUES (%s)", [order_id])
            await event_log.append(OrderPlaced(...), PsycopgConnection(connection))
        event_log.wake.set()

    inbox = Inbox(PsycopgDatabase(pool.connection))  # handlers take `connection: AsyncConnection`

Needs `pip install snsqs[psycopg]`.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, AsyncRawCursor, DataError, Error, OperationalError
from psycopg.rows import DictRow, dict_row

from snsqs._database_errors import error_of
from snsqs.sql import DatabaseUnavailable, Unstorable

__all__ = [
    "PsycopgConnection",
    "PsycopgDatabase",
    "PsycopgTransaction",
]


class PsycopgConnection:
    """A psycopg AsyncConnection with any row factory, as a `snsqs.sql.SqlConnection`."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection

    async def execute(self, query: str, /, *args: Any) -> object:
        async with self._cursor() as cursor:
            return await cursor.execute(query.encode(), args)

    async def fetch(self, query: str, /, *args: Any) -> Sequence[DictRow]:
        async with self._cursor() as cursor:
            await cursor.execute(query.encode(), args)
            return await cursor.fetchall()

    async def fetchrow(self, query: str, /, *args: Any) -> DictRow | None:
        async with self._cursor() as cursor:
            await cursor.execute(query.encode(), args)
            return await cursor.fetchone()

    def _cursor(self) -> AsyncRawCursor[DictRow]:
        return AsyncRawCursor(self._connection, row_factory=dict_row)


@dataclass(frozen=True)
class PsycopgTransaction:
    """An open transaction, as a `snsqs.sql.SqlTransaction`."""

    connection: PsycopgConnection
    resource: AsyncConnection[Any]


class PsycopgDatabase:
    """Transactions of psycopg connections, as a `snsqs.sql.TransactionManager`.

    Handlers behind `Inbox` take an AsyncConnection.
    """

    provides = (AsyncConnection,)

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]]) -> None:
        """
        Args:
            connect: opens a connection, such as `AsyncConnectionPool.connection`. A pool needs one connection
                per running handler and one for the relay.
        """
        self._connect = connect

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PsycopgTransaction]:
        """Commit when the body ends, roll back when it raises. Raises DatabaseUnavailable and Unstorable."""
        with _translated_errors():
            async with self._connect() as connection, connection.transaction():
                yield PsycopgTransaction(PsycopgConnection(connection), connection)


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except Error as error:
        if (translated := _error_class(error)) is None:
            raise
        raise translated(str(error)) from error


def _error_class(error: Error) -> type[DatabaseUnavailable] | type[Unstorable] | None:
    if error.sqlstate is not None:
        return error_of(error.sqlstate)
    if isinstance(error, OperationalError):  # no server, connection lost, or the pool's timeout
        return DatabaseUnavailable
    return Unstorable if isinstance(error, DataError) else None
