"""`make up`: the system, running until it is stopped."""

import asyncio
from contextlib import suppress
from itertools import cycle
from pathlib import Path

from rich.console import Console
from rich.text import Text

from local.output import background_console
from local.ports import Ports
from local.services import DATABASES, SERVICES
from local.supervisor import Supervisor
from local.system import OPERATOR, LocalSystem, running_system

_COLOURS = dict(
    zip((each.name for each in SERVICES), cycle(["blue", "cyan", "magenta", "green", "yellow"]), strict=False)
)
_WIDTH = max(len(name) for name in _COLOURS) + 1


async def run_up(folder: Path) -> int:
    """Run the system and print its output until cancelled. Raises CannotStart, InvalidPort, ProgramFailed."""
    with background_console() as console:
        return await _run_until_cancelled(folder, console)


async def _run_until_cancelled(folder: Path, console: Console) -> int:
    def on_line(program: str, line: str) -> None:
        console.print(Text(f"{program:<{_WIDTH}}", _COLOURS.get(program, "dim")), Text.from_ansi(line))

    console.print("starting …")
    async with running_system(folder, Ports.from_environment(), on_line) as system:
        console.print(_welcome(system))
        with suppress(asyncio.CancelledError):  # by Ctrl-C, the intended end
            await Supervisor(system, lambda line: console.print(line, markup=False)).run()
    return 0


def _welcome(system: LocalSystem) -> Text:
    order, scm = system.ports.url("order"), system.ports.url("scm")
    docs = "\n".join(f"  {each.name:<{_WIDTH}} {system.ports.url(each.name)}/docs" for each in SERVICES)
    databases = "\n".join(f"  {name:<{_WIDTH}} psql '{system.database_url(name)}'" for name in DATABASES)
    json = "-H 'content-type: application/json' -d"
    operator = f"-H 'authorization: {OPERATOR['authorization']}'"
    return Text.from_markup(f"""
[bold green]The system is running.[/] Data and logs are in {system.folder}. Ctrl-C stops it.

Console: [bold]{system.ports.url("console")}[/]

{docs}

Databases:

{databases}

Try, in the project's folder: put mugs into stock, place an order, complete it and read it again.

  curl -s -X PUT {scm}/back-office/stock/MUG-01 {operator} {json} '{{"onHand": 100}}'
  ID=$(curl -s {order}/orders {json} @docs/order.json | sed 's/.*"id":"\\([0-9]*\\)".*/\\1/')
  curl -s -X POST {order}/orders/$ID/complete; sleep 1; curl -s {order}/orders/$ID
""")
