"""Session: a PostgreSQL connection whose open transaction lasts as long as its process is alive.

PostgreSQL ends a transaction in which no statement runs for `idle_in_transaction_session_timeout`, so a
process that is frozen, or whose host has vanished, does not hold its locks. A handler that waits for
something else in its transaction must not lose it: `keep_alive` runs a statement in every idle transaction.
"""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextlib import suppress
from typing import Any, TypeVar

import asyncpg

__all__ = [
    "SETTINGS",
    "Session",
    "keep_alive",
]

log = logging.getLogger(__name__)

SETTINGS = {
    # PostgreSQL ends a slow statement first, with an error; `command_timeout` is for an unresponsive server.
    "statement_timeout": "8s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "20s",
    # For backends whose client's host has vanished. They have no effect on a Unix socket.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "20s",
}
"""Server settings of every connection of a pool."""

_INTERVAL = 5.0
"""Seconds between two rounds of `keep_alive`."""

_TIMEOUT = 3.0
"""Seconds for one statement; the next round must come before PostgreSQL ends the transaction."""

_STATEMENTS = (
    "execute",
    "executemany",
    "fetch",
    "fetchval",
    "fetchrow",
    "fetchmany",
    "copy_from_table",
    "copy_from_query",
    "copy_to_table",
    "copy_records_to_table",
    "set_type_codec",
    "set_builtin_type_codec",
    "reload_schema_state",
)
"""Methods of a connection that run statements, all of them coroutines."""

T = TypeVar("T")


class Session(asyncpg.Connection):
    """A connection on which the statements of its user and those of `keep_alive` exclude each other.

    asyncpg rejects a statement on a connection that is busy with another.
    """

    __slots__ = ("_keepalive", "is_exposed", "running")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.is_exposed = False
        """True when the user has a cursor or prepared statement, which run statements of their own: the
        connection is not kept alive until it is released."""
        self.running = 0
        """Number of the user's statements that run or wait for `touch`."""
        self._keepalive: asyncio.Future[None] | None = None

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        self.is_exposed = True
        return _Cursor(self, super().cursor(*arguments, **options))

    async def prepare(self, *arguments: Any, **options: Any) -> Any:
        self.is_exposed = True
        await self.until_free()
        return await super().prepare(*arguments, **options)

    async def until_free(self) -> None:
        """Wait for the end of a statement of `touch`."""
        if self._keepalive is not None:
            await asyncio.wait([self._keepalive])

    async def touch(self) -> None:
        """Run a statement without effect if there is an idle transaction. In one that has failed it fails,
        which serves as well; when the connection is lost, the user's next statement raises the error."""
        if self.running or self.is_exposed or self._keepalive is not None:
            return
        if self.is_closed() or not self.is_in_transaction():
            return
        self._keepalive = asyncio.get_running_loop().create_future()
        try:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                await super().execute("SELECT", timeout=_TIMEOUT)
        finally:
            self._keepalive.set_result(None)
            self._keepalive = None


class _Cursor:
    """asyncpg's cursor, of which rows are read with `async for`, or after an `await`."""

    def __init__(self, session: Session, factory: Any) -> None:
        self._session = session
        self._factory = factory

    async def __aiter__(self) -> AsyncIterator[Any]:
        await self._session.until_free()
        async for row in self._factory:
            yield row

    def __await__(self) -> Generator[Any, None, Any]:
        return self._open().__await__()

    async def _open(self) -> Any:
        await self._session.until_free()
        return await self._factory


def _exclusive(method: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    @functools.wraps(method)
    async def run(session: Session, *arguments: Any, **options: Any) -> T:
        session.running += 1
        try:
            await session.until_free()
            return await method(session, *arguments, **options)
        finally:
            session.running -= 1

    return run


for _name in _STATEMENTS:
    setattr(Session, _name, _exclusive(getattr(asyncpg.Connection, _name)))


async def keep_alive(sessions: Iterable[Session]) -> None:
    """Touch the sessions again and again, until cancelled."""
    while True:
        await asyncio.sleep(_INTERVAL)
        touches = [session.touch() for session in list(sessions)]
        for result in await asyncio.gather(*touches, return_exceptions=True):
            if isinstance(result, Exception):
                log.error("transaction not kept alive", extra={"error": repr(result)})
