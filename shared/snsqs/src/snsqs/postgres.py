"""PostgreSQL: the pool of a service, and a transaction that in-process events are published in."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy
from pydantic_core import from_json, to_json

from snsqs.events import ApplicationEventPublisher

log = structlog.get_logger(__name__)

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
"""What PostgreSQL answers when it is starting, stopping, full, or has ended our connection."""


class DatabaseUnavailable(Exception):
    """The database is away just now, or too slow. Nothing was kept; trying again later may help."""


class Unstorable(Exception):
    """A value is none that PostgreSQL can keep: out of range, too long for an index, or with U+0000 in it.
    Trying again cannot help. Check values where they come in."""


class OutcomeUnknown(DatabaseUnavailable):
    """The connection was lost while the transaction was being committed: everything of it was kept, or
    nothing. Read what is there before trying again; where that is safe anyway, just try again."""


class DatabaseUnreachable(Exception):
    """The database did not answer at start. The message says which address was tried, and why."""


class Transaction:
    """One database transaction, and the in-process events of it.

    What writes takes the transaction of its caller, so that a command, its events and what listens to
    them become visible together or not at all.
    """

    def __init__(self, connection: Connection, publisher: ApplicationEventPublisher) -> None:
        self.connection = connection
        self.cause: str | None = None
        """The id of the message that is handled in it, if it is one."""
        self._publisher = publisher
        self._after_commit: list[Callable[[], Awaitable[None]]] = []

    async def publish(self, event: object) -> None:
        """Hands the event to its in-process listeners, inside this transaction."""
        await self._publisher.publish(event, self)

    def after_commit(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Runs the callback once this transaction is committed; never when it is rolled back."""
        self._after_commit.append(callback)

    async def run_after_commit(self) -> None:
        for callback in self._after_commit:
            await callback()


class Database:
    """A service's connection pool and the publisher of its in-process events. Safe to share."""

    def __init__(self, pool: asyncpg.Pool, publisher: ApplicationEventPublisher) -> None:
        self._pool = pool
        self._publisher = publisher
        self._users = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for reading. Raises DatabaseUnavailable when it cannot be had or is lost."""
        try:
            connection = await self._acquire()
        except (*_LOST, OSError, TimeoutError) as error:
            raise DatabaseUnavailable(f"no connection: {error!r}") from error
        is_well = False
        try:
            yield connection
            is_well = True
        except (*_LOST, TimeoutError) as error:
            raise DatabaseUnavailable(f"connection lost or too slow: {error!r}") from error
        except (asyncpg.DataError, asyncpg.ProgramLimitExceededError) as error:
            raise Unstorable(str(error)) from error
        except asyncpg.InterfaceError as error:
            if isinstance(error, ValueError):  # asyncpg itself could not encode it
                raise Unstorable(str(error)) from error
            if _is_gone(connection):
                raise DatabaseUnavailable(f"connection lost: {error}") from error
            raise
        finally:
            await self._release(connection, most=None if is_well else 2)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """A connection whose statements all read what was there at the first. Raises DatabaseUnavailable."""
        async with (
            self.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits when the body ends, rolls back when it raises. Raises DatabaseUnavailable, and
        OutcomeUnknown when the connection was lost during the COMMIT."""
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
        """Waits 5 s for one to come back. While one is free there is nothing to wait for but its opening,
        which has a deadline of its own; another would cost a timer on every request."""
        self._users += 1
        has_to_wait = self._users > self._pool.get_max_size()
        try:
            return await self._pool.acquire(timeout=5 if has_to_wait else None)
        except BaseException:
            self._users -= 1
            raise

    async def _release(self, connection: Connection, *, most: float | None) -> None:
        """`most` is how many seconds it may take to cancel what still runs on it. Of one that is well nothing
        is asked, and a deadline would cost a timer."""
        self._users -= 1
        try:
            await self._pool.release(connection, timeout=most)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            # What was done is done; the pool has ended this connection and opens another one.
            log.warning("connection not released", error=repr(error))

    async def check_migrated(self) -> None:
        """Raises when the database is away or was never migrated."""
        async with self.connection() as connection:
            await connection.fetchval("SELECT count(*) FROM _yoyo_migration")


@asynccontextmanager
async def connect(
    url: str, publisher: ApplicationEventPublisher, *, connections: int = 20
) -> AsyncIterator[Database]:
    """Opens the pool, and closes it in the end. Raises DatabaseUnreachable."""
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=connections,
            timeout=5,
            # PostgreSQL gives up first, and says so; ours is for a server that says nothing any more.
            server_settings={"statement_timeout": "8s"},
            command_timeout=10,
            init=_json_columns,
            reset=_nothing,
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        raise DatabaseUnreachable(f"{without_password(url)}: {error}") from error
    try:
        yield Database(pool, publisher)
    finally:
        await pool.close()


def _is_gone(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken it back, which it does with a lost one
        return True


def without_password(url: str) -> str:
    """A database URL that may be shown and logged."""
    head, at, tail = url.rpartition("@")
    scheme, separator, user = head.partition("://")
    return f"{scheme}{separator}{user.partition(':')[0]}{at}{tail}" if at else url


async def _json_columns(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_json, decoder=from_json)


def _json(value: object) -> str:
    """Of models too, as they are on the wire."""
    return to_json(value).decode()


async def _nothing(_: object) -> None:
    """What the pool asks PostgreSQL for when a connection comes back, by default to forget the session's
    settings and locks. All of ours are a transaction's and end with it; asking would be a round trip on
    every request. A transaction that is still open is rolled back all the same."""
