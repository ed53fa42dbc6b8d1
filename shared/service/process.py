"""The process of a service: its command line, its start, its end."""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psycopg
import structlog
import typer
import uvicorn
import uvloop
from fastapi import FastAPI
from snsqs import ListenerMisconfigured, TopologyError
from snsqs.postgres import DatabaseUnreachable, without_password

from shared.runtime import background, telemetry
from shared.runtime.migration import migrate
from shared.runtime.settings import MigrationSettings, ServiceSettings, load, refuse_to_start
from shared.web.bounded_http import BoundedHttp

log = structlog.get_logger(__name__)

S = TypeVar("S", bound=ServiceSettings)


class StartRefused(Exception):
    """The service cannot start. The message has a line for each thing that is wrong: file, key and reason."""


_REFUSALS = (StartRefused, TopologyError, DatabaseUnreachable, ListenerMisconfigured)


def command_line(service: str, settings_type: type[S], create_app: Callable[[S], FastAPI]) -> typer.Typer:
    """`python -m services.<name>`: serves. More commands may be added to what it returns."""
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
        except _REFUSALS as error:
            refuse_to_start(service, error)
        _serve(service, app, settings)

    return cli


def add_migrate(cli: typer.Typer, service: str, folders: Sequence[Path]) -> None:
    """Adds the command that brings the service's database up to date."""

    @cli.command("migrate")
    def _migrate() -> None:
        """Create the database where it is missing, and apply new migrations. Reads DATABASE_URL."""
        url = load(MigrationSettings, service).database_url
        try:
            applied = migrate(url, folders)
        except psycopg.Error as error:
            refuse_to_start(service, f"{without_password(url)}: {str(error).splitlines()[0]}")
        typer.echo(f"{service}: {', '.join(applied) if applied else 'the database is up to date'}")


def _serve(service: str, app: FastAPI, settings: ServiceSettings) -> None:
    try:
        uvloop.run(_run(app, bind(settings.host, settings.port)))
    except _REFUSALS as error:
        refuse_to_start(service, error)
    except BaseExceptionGroup as group:  # from a background loop, which has its own task groups
        refused, others = group.split(_REFUSALS)
        if refused is None or others is not None:
            raise
        refuse_to_start(service, "; ".join(str(error) for error in _leaves(refused)))


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def bind(host: str, port: int) -> socket.socket:
    """A socket to serve on. Raises StartRefused where the address cannot be had."""
    try:
        listening = socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise StartRefused(
            f"cannot listen on {host}:{port} (HOST, PORT): {error.strerror or error}"
        ) from error
    # Made anew of its descriptor, it knows that it is TCP. For one that does not, asyncio leaves Nagle's
    # algorithm on, and an answer on a connection that is kept waits 40 ms for an acknowledgement.
    return socket.socket(fileno=listening.detach())


async def _run(app: FastAPI, listening: socket.socket) -> None:
    """Opens what the app needs, serves until a signal or until a background loop failed, and closes."""
    server = Server(app, drain=5)

    def stop() -> None:
        server.stop()
        background.stop(app)  # at the same time, so that both drains are within one limit

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    async with app.router.lifespan_context(app):
        gc.freeze()  # what is there by now stays; looking through it again and again is felt on every request
        log.info("serving", address=":".join(map(str, listening.getsockname()[:2])))
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_stop_when_failed(app, server))
            await server.serve(sockets=[listening])
            watching.cancel()
        log.info("stopping")


async def _stop_when_failed(app: FastAPI, server: "Server") -> None:
    await app.state.failed.wait()
    server.stop()


class Server(uvicorn.Server):
    """uvicorn, with the signals left to us: its own way is to end the process before anything is drained.

    Stopping waits `drain` seconds for the requests that run.
    """

    def __init__(self, app: FastAPI, *, drain: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedHttp,
                log_config=None,
                access_log=False,
                lifespan="off",  # entered by us, so that an error in it is an exception and not a log line
                timeout_graceful_shutdown=drain,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Takes no more connections, and lets the requests finish that run."""
        self.should_exit = True
