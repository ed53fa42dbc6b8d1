"""Process of a service: command line, start and shutdown."""

import asyncio
import gc
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import asyncpg
import psycopg
import structlog
import typer
import uvicorn
import uvloop
from fastapi import FastAPI
from snsqs import ListenerMisconfigured, TopologyError
from snsqs.postgres import DatabaseUnreachable, without_password

from shared.runtime import telemetry
from shared.runtime.background import CANCEL_TIMEOUT, STOP_TIMEOUT, BackgroundLoops
from shared.runtime.migration import MigrationTimeout, migrate
from shared.runtime.settings import MigrationSettings, ServiceSettings, exit_with_error, load
from shared.service._settings import TooFewConnections
from shared.web import IDLE_TIMEOUT, BoundedHttp, components

log = structlog.get_logger(__name__)

S = TypeVar("S", bound=ServiceSettings)

EXIT_TIMEOUT = STOP_TIMEOUT + CANCEL_TIMEOUT + 5.0
"""Seconds from the signal to stop, or the failure of a background loop, after which the process is ended."""


class StartRefused(Exception):
    """The service cannot start. The message has a line per error: file, key and reason."""


_START_ERRORS = (StartRefused, TopologyError, DatabaseUnreachable, ListenerMisconfigured, TooFewConnections)


def command_line(service: str, settings_type: type[S], create_app: Callable[[S], FastAPI]) -> typer.Typer:
    """Return the command line of `python -m services.<name>`, to which further commands can be added."""
    cli = typer.Typer(add_completion=False, help=f"The {service} service.", pretty_exceptions_enable=False)

    @cli.callback(invoke_without_command=True)
    def default(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            serve()

    @cli.command()
    def serve() -> None:
        """Serve until SIGTERM or Ctrl-C, then drain. Settings come from the environment."""
        settings = load(settings_type, service)
        telemetry.configure(service, log_format=settings.log_format, log_level=settings.log_level)
        try:
            app = create_app(settings)
        except _START_ERRORS as error:
            exit_with_error(service, error)
        _serve(service, app, settings)

    return cli


def add_migrate(cli: typer.Typer, service: str, folders: Sequence[Path], *, messaging: bool = True) -> None:
    """Add the command that creates and migrates the service's database; see `migrate`."""

    @cli.command("migrate")
    def _migrate() -> None:
        """Create the database if it is missing and apply new migrations. Reads DATABASE_URL."""
        url = load(MigrationSettings, service).database_url
        try:
            applied = migrate(url, folders, messaging=messaging)
        except (psycopg.Error, asyncpg.PostgresError, MigrationTimeout) as error:
            exit_with_error(service, f"{without_password(url)}: {str(error).splitlines()[0]}")
        typer.echo(f"{service}: {', '.join(applied) if applied else 'the database is up to date'}")


def _serve(service: str, app: FastAPI, settings: ServiceSettings) -> None:
    try:
        uvloop.run(_run(app, bind(settings.host, settings.port)))
    except _START_ERRORS as error:
        exit_with_error(service, error)
    except SystemExit as error:  # of a task; it ends the event loop, with any exit code
        log.critical("a task ended the process", exc_info=error)
        raise SystemExit(1) from error
    except BaseExceptionGroup as group:  # from the task groups of a background loop
        refused, others = group.split(_START_ERRORS)
        if refused is None or others is not None:
            raise
        exit_with_error(service, "; ".join(str(error) for error in _leaves(refused)))


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def bind(host: str, port: int) -> socket.socket:
    """Return a socket to serve on. Raises StartRefused when the address is not available."""
    try:
        listening = socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise StartRefused(
            f"cannot listen on {host}:{port} (HOST, PORT): {error.strerror or error}"
        ) from error
    # Recreated from its descriptor, the socket has its protocol set to TCP. Without it asyncio leaves Nagle's
    # algorithm on, and a response on a kept-alive connection waits 40 ms for an acknowledgement.
    return socket.socket(fileno=listening.detach())


async def _run(app: FastAPI, listening: socket.socket) -> None:
    """Serve within the application's lifespan until a signal arrives or a background loop fails."""
    server, loops = Server(app, shutdown_timeout=5), components(app).get(BackgroundLoops)

    def stop() -> None:
        server.stop()
        loops.stop()  # at the same time, so that both drain within one limit
        _exit_in_time()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    async with app.router.lifespan_context(app):
        gc.freeze()  # long-lived objects; scanning them again and again slows every request
        log.info("serving", address=":".join(map(str, listening.getsockname()[:2])))
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_stop_when_failed(loops, server))
            await server.serve(sockets=[listening])
            watching.cancel()
        log.info("stopping")


async def _stop_when_failed(loops: BackgroundLoops, server: "Server") -> None:
    await loops.failed.wait()
    server.stop()
    _exit_in_time()


def _exit_in_time() -> None:
    """End the process with an error if it does not end by itself, because a handler ignores its cancellation
    or blocks the event loop."""

    def end() -> None:
        log.critical("the process did not end in time", seconds=EXIT_TIMEOUT)
        os._exit(1)

    timer = threading.Timer(EXIT_TIMEOUT, end)
    timer.daemon = True
    timer.start()


class Server(uvicorn.Server):
    """uvicorn without its signal handlers, which end the process before background loops have drained.

    `shutdown_timeout` is the number of seconds that running requests may take to finish.
    """

    def __init__(self, app: FastAPI, *, shutdown_timeout: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedHttp,
                ws="none",
                log_config=None,
                access_log=False,
                lifespan="off",  # entered by `_run`, so that its errors are exceptions instead of log lines
                timeout_keep_alive=IDLE_TIMEOUT,
                timeout_graceful_shutdown=shutdown_timeout,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Accept no more connections and let running requests finish."""
        self.should_exit = True
