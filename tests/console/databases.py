"""A database that a test can make unavailable."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg

_END_CONNECTIONS = """
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class DetachableDatabase:
    """A database behind a link to the server's socket: removing the link makes it unavailable."""

    def __init__(self, url: str, folder: Path) -> None:
        """`folder` needs a short path, because a socket's is limited to about 100 characters."""
        [socket_folder] = parse_qs(urlsplit(url).query)["host"]
        self._direct_url = url
        self._socket = next(Path(socket_folder).glob(".s.PGSQL.*[0-9]"))
        self._link = folder / self._socket.name
        self._link.symlink_to(self._socket)
        self.url = url.replace(socket_folder, str(folder)).replace(quote(socket_folder, safe=""), str(folder))

    @asynccontextmanager
    async def unavailable(self) -> AsyncIterator[None]:
        self._link.unlink()
        admin = await asyncpg.connect(self._direct_url)
        try:
            await admin.execute(_END_CONNECTIONS)
        finally:
            await admin.close()
        yield
        self._link.symlink_to(self._socket)
