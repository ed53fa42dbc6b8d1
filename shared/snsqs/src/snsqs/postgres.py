"""PostgreSQL: a connection pool, and transactions in which in-process events are published.

Needs asyncpg: `pip install snsqs[postgres]`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias
from weakref import WeakSet

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from pydantic_core import from_json

from snsqs._database_errors import (
    DatabaseUnavailable,
    OutcomeUnknown,
    StatementTimeout,
    Unstorable,
    is_raised_in,
)
from snsqs._json import encode_any
from snsqs._session import SETTINGS, Session, keep_alive
from snsqs._transaction import Transaction
from snsqs.events import ApplicationEventPublisher

__all__ = [
    "Connection",
    "Database",
    "DatabaseUnavailable",
    "DatabaseUnreachable",
    "NotMigrated",
    "OutcomeUnknown",
    "StatementTimeout",
    "Transaction",
    "Unstorable",
    "connect",
    "without_password",
]

log = logging.getLogger(__name__)

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
)
"""Errors of PostgreSQL when it is starting, stopping, full, has ended the connection, or when another
transaction has held a lock for too long."""


_PROBE_TIMEOUT = 2.0
"""Seconds in which an available server answers a trivial statement."""

MISSING_TABLES = """
    SELECT array_agg(name) FILTER (WHERE to_regclass(name) IS NULL)
    FROM unnest(ARRAY['event_log', 'inbox', 'inbox_version']) AS name
"""


HAS_SOURCE = """
    SELECT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'inbox_version'::regclass AND attname = 'source'
    )
"""


class DatabaseUnreachable(Exception):
    """The database did not answer at start. The message has its address and the reason."""


class NotMigrated(Exception):
    """Tables of the library are missing. Run `python -m snsqs.migrations`."""


class Database:
    """A connection pool and the publisher of in-process events. Safe to share between tasks."""

    provides = (Transaction,)

    def __init__(self, pool: asyncpg.Pool, publisher: ApplicationEventPublisher) -> None:
        self._pool = pool
        self._publisher = publisher
        self._users = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Acquire a connection, for reading. Raises DatabaseUnavailable when none is available within 5 s or
        the connection is lost, StatementTimeout when only a statement is too slow, and Unstorable."""
        try:
            connection = await self._acquire()
        except (*_LOST, OSError, TimeoutError) as error:
            raise DatabaseUnavailable(f"no connection: {error!r}") from error
        is_well = False
        try:
            yield connection
            is_well = True
        except asyncpg.QueryCanceledError as error:
            raise StatementTimeout(f"statement canceled: {error}") from error
        except _LOST as error:
            raise DatabaseUnavailable(f"connection lost: {error!r}") from error
        except TimeoutError as error:
            if not is_raised_in(error, "asyncpg"):  # a time limit of the body itself
                raise
            if await _responds(connection):
                raise StatementTimeout(f"statement took too long: {error!r}") from error
            raise DatabaseUnavailable(f"no response: {error!r}") from error
        except (asyncpg.DataError, asyncpg.ProgramLimitExceededError) as error:
            raise Unstorable(str(error)) from error
        except asyncpg.InterfaceError as error:
            if isinstance(error, ValueError):  # asyncpg itself could not encode it
                raise Unstorable(str(error)) from error
            if _is_gone(connection):
                raise DatabaseUnavailable(f"connection lost: {error}") from error
            raise
        finally:
            await self._release(connection, timeout=None if is_well else 2)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Acquire a connection whose statements all read one snapshot. Raises DatabaseUnavailable."""
        async with (
            self.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commit when the body ends, roll back when it raises. Raises DatabaseUnavailable, OutcomeUnknown
        when the connection was lost during the COMMIT, and Unstorable."""
        is_done = False
        try:
            async with self.connection() as connection, connection.transaction():
                transaction = Transaction(connection, self._publisher)
                yield transaction
                is_done = True
        except DatabaseUnavailable as error:
            if is_done:
                raise OutcomeUnknown(str(error)) from error
            raise
        await transaction.run_after_commit()

    async def _acquire(self) -> Connection:
        """Wait up to 5 s for a connection. While one is free, only opening it takes time, which has a timeout
        of its own; another would cost a timer per request."""
        self._users += 1
        has_to_wait = self._users > self._pool.get_max_size()
        try:
            return await self._pool.acquire(timeout=5 if has_to_wait else None)
        except BaseException:
            self._users -= 1
            raise

    async def _release(self, connection: Connection, *, timeout: float | None) -> None:
        """`timeout` limits the cancellation of a statement that still runs. A healthy connection has none,
        and a timeout would cost a timer per request."""
        self._users -= 1
        try:
            await self._pool.release(connection, timeout=timeout)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            # The result stands; the pool has closed this connection and opens another one.
            log.warning("connection not released", extra={"error": repr(error)})

    async def check_migrated(self) -> None:
        """Check that the tables of the library exist. Raises NotMigrated and DatabaseUnavailable."""
        async with self.connection() as connection:
            missing = await connection.fetchval(MISSING_TABLES)
            is_current = bool(missing) or await connection.fetchval(HAS_SOURCE)
        if missing:
            raise NotMigrated(f"no table {', '.join(missing)}: run `python -m snsqs.migrations`")
        if not is_current:
            raise NotMigrated("no column source in inbox_version: run `python -m snsqs.migrations`")


@asynccontextmanager
async def connect(
    url: str, publisher: ApplicationEventPublisher, *, connections: int = 20
) -> AsyncIterator[Database]:
    """Open a connection pool, and close it at the end. Raises DatabaseUnreachable.

    Statements are limited to 8 s (StatementTimeout), waits for a lock to 5 s. PostgreSQL rolls back a
    transaction 20 s after its last statement when the process is frozen or its host has vanished; while the
    process is alive, a transaction may be idle for any time. The exception: with a cursor or prepared
    statement of its own it may be idle for 20 s at most.

    `connections` bounds the pool; it needs one connection

    - per running handler (`ListenerOptions.max_concurrency`, 10 by default, for each queue),
    - for the relay, and for each other background loop that reads the database,
    - and those of concurrent requests. A caller that waits longer than 5 s gets DatabaseUnavailable.

    The sum over all instances must stay below PostgreSQL's `max_connections`, 100 by default.
    """
    sessions: WeakSet[Session] = WeakSet()

    async def set_up(session: asyncpg.Connection) -> None:
        assert isinstance(session, Session)
        await _json_columns(session)
        sessions.add(session)

    if type(connections) is not int or connections < 1:
        raise ValueError(f"connect: connections is {connections!r}; set a whole number of at least 1")
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=connections,
            connection_class=Session,
            timeout=5,
            server_settings=SETTINGS,
            command_timeout=10,
            init=set_up,
            reset=_keep_session,
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        reason = str(error) or "no answer within 5 s"  # a TimeoutError has no text
        raise DatabaseUnreachable(f"{without_password(url)}: {reason}") from error
    keeping_alive = asyncio.create_task(keep_alive(sessions))
    try:
        yield Database(pool, publisher)
    finally:
        await pool.close()
        keeping_alive.cancel()
        await asyncio.wait([keeping_alive])


async def _responds(connection: Connection) -> bool:
    """Return whether the server answers a statement. In a failed transaction it answers with an error."""
    try:
        await connection.execute("SELECT 1", timeout=_PROBE_TIMEOUT)
    except asyncpg.InFailedSQLTransactionError:
        return True
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        return False
    return True


def _is_gone(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken it back, as it does with a lost connection
        return True


def without_password(url: str) -> str:
    """Return the database URL without its password, fit for logs."""
    head, at, tail = url.rpartition("@")
    scheme, separator, user = head.partition("://")
    return f"{scheme}{separator}{user.partition(':')[0]}{at}{tail}" if at else url


async def _json_columns(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_json, decoder=from_json)


def _json(value: object) -> str:
    return encode_any(value).decode()


async def _keep_session(session: asyncpg.Connection) -> None:
    """Skip the reset of a released connection. By default the pool resets the session's settings and locks,
    one round trip per request; ours belong to a transaction and end with it. A transaction that is still open
    is rolled back all the same."""
    assert isinstance(session, Session)
    session.is_exposed = False
