"""SQLAlchemy's async sessions and engines as the database of outbox and inbox.

    from snsqs.inbox import Inbox
    from snsqs.outbox import EventLog
    from snsqs.sqlalchemy import SqlAlchemyDatabase, SqlAlchemySession
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    async def place(order: Order, sessions: async_sessionmaker[AsyncSession], event_log: EventLog) -> None:
        async with sessions.begin() as session:
            session.add(order)
            await event_log.append(OrderPlaced(...), SqlAlchemySession(session))

    inbox = Inbox(SqlAlchemyDatabase(sessions))  # handlers take `session: AsyncSession`

Needs `pip install snsqs[sqlalchemy]` and a driver, asyncpg or psycopg 3.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import event, exc
from sqlalchemy.engine import CursorResult, RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, SessionTransaction

from snsqs._database_errors import error_of, is_raised_in
from snsqs.sql import DatabaseUnavailable, StatementTimeout, Unstorable

__all__ = [
    "SqlAlchemyConnection",
    "SqlAlchemyDatabase",
    "SqlAlchemySession",
    "SqlAlchemyTransaction",
    "UnsupportedDialect",
]

_PROBE_TIMEOUT = 2.0
"""Seconds in which an available server accepts a connection."""

_CALLBACKS = "snsqs.on_transaction_end"
"""Key of `Session.info`."""


class UnsupportedDialect(ValueError):
    """The engine is not one of PostgreSQL. Use a URL `postgresql+asyncpg://` or `postgresql+psycopg://`."""


class SqlAlchemyConnection:
    """An AsyncConnection as a `snsqs.sql.SqlConnection`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def execute(self, query: str, /, *args: Any) -> object:
        return await self._run(query, args)

    async def fetch(self, query: str, /, *args: Any) -> Sequence[RowMapping]:
        return (await self._run(query, args)).mappings().all()

    async def fetchrow(self, query: str, /, *args: Any) -> RowMapping | None:
        return (await self._run(query, args)).mappings().first()

    async def connection(self) -> AsyncConnection:
        """Return the connection that the statements run on."""
        return self._connection

    async def _run(self, query: str, args: tuple[Any, ...]) -> CursorResult[Any]:
        connection = await self.connection()
        if connection.dialect.paramstyle == "numeric_dollar":
            return await connection.exec_driver_sql(query, args)
        named = {f"p{number}": value for number, value in enumerate(args, start=1)}
        return await connection.exec_driver_sql(_named_parameters(query), named)


class SqlAlchemySession(SqlAlchemyConnection):
    """The connection of an AsyncSession, in its transaction, as a `snsqs.sql.SqlConnection`.

    The end of the transaction is reported to `EventLog.append`, which wakes the relay.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def connection(self) -> AsyncConnection:
        return await self._session.connection()

    def on_transaction_end(self, callback: Callable[[], None]) -> None:
        """Run the callback after the commit or rollback of the session's present transaction. The end of a
        savepoint is not one."""
        session = self._session.sync_session
        session.info.setdefault(_CALLBACKS, []).append(callback)
        if not event.contains(session, "after_transaction_end", _run_callbacks):
            event.listen(session, "after_transaction_end", _run_callbacks)


def _run_callbacks(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        for callback in session.info.pop(_CALLBACKS, ()):
            callback()


@dataclass(frozen=True)
class SqlAlchemyTransaction:
    """An open transaction, as a `snsqs.sql.SqlTransaction`."""

    connection: SqlAlchemyConnection
    resource: AsyncSession | AsyncConnection


class SqlAlchemyDatabase:
    """Transactions of a session factory or an engine, as a `snsqs.sql.TransactionManager`.

    Handlers behind `Inbox` take an AsyncSession (or the session class of the factory); with an engine, an
    AsyncConnection. The pool needs one connection per running handler and one for the relay.
    """

    def __init__(self, source: async_sessionmaker[Any] | AsyncEngine) -> None:
        """
        Args:
            source: session factory or engine of PostgreSQL. Raises UnsupportedDialect for any other.
        """
        self._source = source
        if isinstance(source, AsyncEngine):
            self.provides: tuple[type, ...] = (AsyncConnection,)
            bind: Any = source
        else:
            self.provides = tuple(dict.fromkeys((AsyncSession, source.class_)))
            bind = source.kw.get("bind")
        if bind is not None and (name := bind.dialect.name) != "postgresql":
            raise UnsupportedDialect(
                f"SqlAlchemyDatabase: dialect {name!r} is not supported; use postgresql+asyncpg or "
                "postgresql+psycopg"
            )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqlAlchemyTransaction]:
        """Commit when the body ends, roll back when it raises. Raises DatabaseUnavailable and Unstorable."""
        try:
            with _translated_errors():
                async with AsyncExitStack() as stack:
                    try:
                        transaction = await self._begin(stack)
                    except OSError as error:
                        raise DatabaseUnavailable(f"no connection: {error!r}") from error
                    yield transaction
        except TimeoutError as error:
            if not is_raised_in(error, "asyncpg"):  # a time limit of the body itself
                raise
            if await self._responds():
                raise StatementTimeout(f"statement took too long: {error!r}") from error
            raise DatabaseUnavailable(f"no response: {error!r}") from error

    async def _responds(self) -> bool:
        """Return whether the server accepts a connection, after a statement has exceeded the driver's own
        time limit."""
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT), AsyncExitStack() as stack:
                await self._begin(stack)
        except (exc.SQLAlchemyError, OSError):
            return False
        return True

    async def _begin(self, stack: AsyncExitStack) -> SqlAlchemyTransaction:
        if isinstance(self._source, AsyncEngine):
            connection = await stack.enter_async_context(self._source.begin())
            return SqlAlchemyTransaction(SqlAlchemyConnection(connection), connection)
        session = await stack.enter_async_context(self._source.begin())
        await session.connection()
        return SqlAlchemyTransaction(SqlAlchemySession(session), session)


@lru_cache(maxsize=100)
def _named_parameters(query: str) -> str:
    """Return the statement with `%(p1)s` for `$1`, as psycopg takes it."""
    return re.sub(r"\$(\d+)", r"%(p\1)s", query.replace("%", "%%"))


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except exc.TimeoutError as error:  # of the pool
        raise DatabaseUnavailable(f"no connection: {error!r}") from error
    except exc.DBAPIError as error:
        if (translated := _error_class(error)) is None:
            raise
        raise translated(str(error.orig)) from error


def _error_class(error: exc.DBAPIError) -> type[DatabaseUnavailable] | type[Unstorable] | None:
    if error.connection_invalidated:
        return DatabaseUnavailable
    if (sqlstate := getattr(error.orig, "sqlstate", None)) is not None:
        return error_of(sqlstate)
    if isinstance(error, exc.OperationalError):
        return DatabaseUnavailable
    # Values that the driver could not encode: psycopg raises a DataError, asyncpg a ValueError.
    is_value = isinstance(error, exc.DataError) or isinstance(error.orig and error.orig.__cause__, ValueError)
    return Unstorable if is_value else None
