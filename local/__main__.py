"""The whole system on one machine: the commands behind `make up`, `make demo` and others."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated

import typer

from local.chaos import run_chaos
from local.conformance import run_conformance
from local.demo import run_demo
from local.new_service import CannotCreate, create_service
from local.ports import HOST, InvalidPort
from local.program import ProgramFailed
from local.reconcile import ServiceUnreadable, run_reconcile
from local.services import SERVICES
from local.smoke import run_smoke
from local.supervisor import run_restart, running_urls
from local.system import CannotStart
from local.up import run_up

cli = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False, no_args_is_help=True)


_FOLDER = Path(".local").resolve()


@cli.command()
def up(
    folder: Annotated[Path, typer.Option(help="Folder of data and logs.")] = _FOLDER,
) -> None:
    """Run the whole system until Ctrl-C. Data is kept for the next run. CONSOLE_PORT, ORDER_PORT and so on,
    and AWS_PORT set other ports."""
    _run(run_up(folder.resolve()))


@cli.command()
def demo() -> None:
    """Send orders through a fresh system on free ports, show their events, and check the outcome."""
    _run(run_demo())


@cli.command()
def reconcile(
    order_url: Annotated[str | None, typer.Option(envvar="ORDER_URL")] = None,
    scm_url: Annotated[str | None, typer.Option(envvar="SCM_URL")] = None,
    console_url: Annotated[str | None, typer.Option(envvar="CONSOLE_URL")] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for messages on their way.")] = 10,
) -> None:
    """Check that Order and SCM agree on all orders and articles, and that no event, queue or listener needs
    an operator; 1 if not. Without other URLs, of the system that `make up` runs."""
    found = running_urls(_FOLDER)
    urls = {each.name: found.get(each.name, f"http://{HOST}:{each.port}") for each in SERVICES}
    order, scm, console = order_url or urls["order"], scm_url or urls["scm"], console_url or urls["console"]
    _run(run_reconcile(order, scm, console, wait))


@cli.command()
def restart(service: Annotated[str, typer.Argument(help="Name of the service, such as scm.")]) -> None:
    """Restart a service of the system that `make up` runs, with the code as it is now."""
    _run(run_restart(_FOLDER, service))


@cli.command()
def chaos(
    seed: Annotated[int, typer.Option(help="Seed of the orders and of the sequence of faults.")] = 1,
) -> None:
    """Inject one fault after the other under a stream of orders; 1 if an order is lost or differs."""
    _run(run_chaos(seed))


@cli.command()
def smoke() -> None:
    """Send an order through containers on free ports, and remove them again. Needs Docker."""
    _run(run_smoke())


@cli.command()
def conformance() -> None:
    """Run the suites of listener, channels and topology on a second SNS/SQS server."""
    _run(run_conformance())


@cli.command()
def new_service(name: Annotated[str, typer.Argument(help="Name of the service, such as billing.")]) -> None:
    """Add a service that handles and publishes events: code, tests, migration, routes, containers."""
    root = Path(__file__).parent.parent
    try:
        files = create_service(root, name)
    except CannotCreate as error:
        raise SystemExit(_report(error)) from None
    for file in files:
        print(file.relative_to(root))
    print(
        f"services/{name} is there: run `make check`, `make test`, then `make up`; docs/building.md goes on"
    )


_EXPECTED = (CannotCreate, CannotStart, InvalidPort, ProgramFailed, ServiceUnreadable)


def _run(work: Coroutine[None, None, int]) -> None:
    """End the process with the exit code that the work returns. SIGINT, SIGTERM, SIGHUP (the terminal is
    closed) and the end of the parent (`make`) cancel the work, so that it stops the processes it has started.
    """
    try:
        code = asyncio.run(_cancelled_by_signals(work))
    except BaseExceptionGroup as group:
        code = _report(_first(group))
    except _EXPECTED as error:
        code = _report(error)
    except asyncio.CancelledError:
        code = _report(ProgramFailed("interrupted"))
    raise SystemExit(code)


async def _cancelled_by_signals(work: Coroutine[None, None, int]) -> int:
    running = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
        return await running
    loop.add_signal_handler(signal.SIGHUP, running.cancel)
    watching = asyncio.create_task(_cancel_without(os.getppid(), running))
    try:
        return await running
    finally:
        watching.cancel()


async def _cancel_without(parent: int, work: "asyncio.Future[int]") -> None:
    while os.getppid() == parent:
        await asyncio.sleep(1)
    work.cancel()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _report(error: BaseException) -> int:
    """Print an expected error in one line and return the exit code; raise any other one."""
    if not isinstance(error, _EXPECTED):
        raise error
    print(f"error: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    cli()
