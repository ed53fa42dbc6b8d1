"""`make up`: the system, running until it is stopped."""

import asyncio
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

from local.system import OPERATOR, LocalSystem, Ports, running_system

_COLOURS = {"console": "blue", "order": "cyan", "adapter": "magenta", "scm": "green"}


async def run_up(folder: Path, ports: Ports) -> int:
    """Run the system and print its output until cancelled. Raises CannotStart and ProgramFailed."""
    console = Console(highlight=False, soft_wrap=True)

    def on_line(program: str, line: str) -> None:
        console.print(Text(f"{program:<8}", _COLOURS.get(program, "dim")), Text.from_ansi(line))

    console.print("starting …")
    async with running_system(folder, ports, on_line) as system:
        console.print(_welcome(system))
        with suppress(asyncio.CancelledError):  # by Ctrl-C, the intended end
            await system.watch()
    return 0


def _welcome(system: LocalSystem) -> Text:
    console, order, adapter, scm = (system.ports.url(name) for name in ("console", "order", "adapter", "scm"))
    json = "-H 'content-type: application/json' -d"
    operator = f"-H 'authorization: {OPERATOR['authorization']}'"
    return Text.from_markup(f"""
[bold green]The system is running.[/] Data and logs are in {system.folder}. Ctrl-C stops it.

Console: [bold]{console}[/]

  console  {console}/docs
  order    {order}/docs
  adapter  {adapter}/docs
  scm      {scm}/docs

Try, in the project's folder: put mugs into stock, place an order, complete it and read it again.

  curl -s -X PUT {scm}/back-office/stock/MUG-01 {operator} {json} '{{"onHand": 100}}'
  ID=$(curl -s {order}/orders {json} @docs/order.json | sed 's/.*"id":"\\([0-9]*\\)".*/\\1/')
  curl -s -X POST {order}/orders/$ID/complete; sleep 1; curl -s {order}/orders/$ID
""")
