"""Database stacks that the library supports, each as the same few operations for one suite."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from psycopg import AsyncConnection as PsycopgAsyncConnection
from psycopg_pool import AsyncConnectionPool
from snsqs.events import ApplicationEventPublisher
from snsqs.postgres import Database, Transaction, connect
from snsqs.psycopg import PsycopgConnection, PsycopgDatabase
from snsqs.sql import SqlConnection, TransactionManager
from snsqs.sqlalchemy import SqlAlchemyConnection, SqlAlchemyDatabase, SqlAlchemySession
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker, create_async_engine


class Stack(ABC):
    """A pool of two connections, opened."""

    database: TransactionManager
    resource: type
    """Type of the handler parameter."""

    @abstractmethod
    def begin(self) -> AbstractAsyncContextManager[Any]:
        """Open a transaction as users of the stack do, without the library."""

    @abstractmethod
    def connection(self, resource: Any) -> SqlConnection:
        """Return the argument of `EventLog.append` in a transaction."""

    @abstractmethod
    def savepoint(self, resource: Any) -> AbstractAsyncContextManager[Any]:
        """Open a savepoint, as users of the stack do."""

    @abstractmethod
    async def write(self, resource: Any, statement: str, value: object) -> None:
        """Run a statement with one parameter, written `:value`, as users of the stack do."""


class Asyncpg(Stack):
    resource = Transaction

    def __init__(self, database: Database) -> None:
        self.database = self._database = database

    def begin(self) -> AbstractAsyncContextManager[Any]:
        return self._database.transaction()

    def connection(self, resource: Transaction) -> SqlConnection:
        return resource.connection

    def savepoint(self, resource: Transaction) -> AbstractAsyncContextManager[Any]:
        context: AbstractAsyncContextManager[Any] = resource.connection.transaction()
        return context

    async def write(self, resource: Transaction, statement: str, value: object) -> None:
        await resource.connection.execute(statement.replace(":value", "$1"), value)


class SqlAlchemySessions(Stack):
    resource = AsyncSession

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self.database, self.session = SqlAlchemyDatabase(sessions), sessions

    def begin(self) -> AbstractAsyncContextManager[Any]:
        return self.session.begin()

    def connection(self, resource: AsyncSession) -> SqlConnection:
        return SqlAlchemySession(resource)

    def savepoint(self, resource: AsyncSession) -> AbstractAsyncContextManager[Any]:
        return resource.begin_nested()

    async def write(self, resource: AsyncSession, statement: str, value: object) -> None:
        await resource.execute(text(statement), {"value": value})


class SqlAlchemyEngine(Stack):
    resource = AsyncConnection

    def __init__(self, engine: Any) -> None:
        self.database, self._engine = SqlAlchemyDatabase(engine), engine

    def begin(self) -> AbstractAsyncContextManager[Any]:
        begun: AbstractAsyncContextManager[Any] = self._engine.begin()
        return begun

    def connection(self, resource: AsyncConnection) -> SqlConnection:
        return SqlAlchemyConnection(resource)

    def savepoint(self, resource: AsyncConnection) -> AbstractAsyncContextManager[Any]:
        return resource.begin_nested()

    async def write(self, resource: AsyncConnection, statement: str, value: object) -> None:
        await resource.execute(text(statement), {"value": value})


class Psycopg(Stack):
    resource = PsycopgAsyncConnection

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self.database, self._pool = PsycopgDatabase(pool.connection), pool

    def begin(self) -> AbstractAsyncContextManager[Any]:
        return self._pool.connection()

    def connection(self, resource: PsycopgAsyncConnection) -> SqlConnection:
        return PsycopgConnection(resource)

    def savepoint(self, resource: PsycopgAsyncConnection) -> AbstractAsyncContextManager[Any]:
        return resource.transaction()

    async def write(self, resource: PsycopgAsyncConnection, statement: str, value: object) -> None:
        await resource.execute(statement.replace(":value", "%s").encode(), [value])


@asynccontextmanager
async def _asyncpg(url: str) -> AsyncIterator[Stack]:
    async with connect(url, ApplicationEventPublisher(), connections=2) as database:
        yield Asyncpg(database)


@asynccontextmanager
async def _psycopg(url: str) -> AsyncIterator[Stack]:
    pool = AsyncConnectionPool(url, min_size=0, max_size=2, timeout=1, open=False)
    async with pool:
        yield Psycopg(pool)


def _sqlalchemy(driver: str, stack: Callable[[Any], Stack]) -> "Opener":
    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Stack]:
        engine = create_async_engine(
            make_url(url).set(drivername=f"postgresql+{driver}"),
            pool_size=2,
            max_overflow=0,
            pool_timeout=1,
        )
        try:
            yield stack(engine)
        finally:
            await engine.dispose()

    return opened


def _sessions(engine: Any) -> Stack:
    return SqlAlchemySessions(async_sessionmaker(engine))


Opener = Callable[[str], AbstractAsyncContextManager[Stack]]

STACKS: Mapping[str, Opener] = {
    "asyncpg": _asyncpg,
    "psycopg": _psycopg,
    "sqlalchemy-session-asyncpg": _sqlalchemy("asyncpg", _sessions),
    "sqlalchemy-session-psycopg": _sqlalchemy("psycopg", _sessions),
    "sqlalchemy-engine-asyncpg": _sqlalchemy("asyncpg", SqlAlchemyEngine),
    "sqlalchemy-engine-psycopg": _sqlalchemy("psycopg", SqlAlchemyEngine),
}
