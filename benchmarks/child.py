"""Child processes: what is measured runs in one of its own, so that nothing else is in its figures."""

import asyncio
import importlib
import json
import statistics
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

ROUNDS = 3

Work = Callable[..., Awaitable[dict[str, float]]]
"""Is given a server's URL and options, and returns what it measured."""


async def in_child(work: Work, url: str, **options: Any) -> dict[str, float]:
    """What `work`, a function at the top of its module, measures in a process of its own."""
    command = [sys.executable, "-m", __name__, work.__module__, work.__name__, url, json.dumps(options)]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await child.communicate()
    except asyncio.CancelledError:
        child.terminate()
        raise
    if child.returncode:
        raise SystemExit(f"{work.__module__}.{work.__name__} ended with code {child.returncode}")
    measured: dict[str, float] = json.loads(output.splitlines()[-1])
    return measured


async def in_turns(
    ours: Work, bare: Work, url: str, prepare: Callable[[], Awaitable[None]], **options: Any
) -> tuple[dict[str, float], dict[str, float]]:
    """The medians of both, which take turns, because the machine is not the same all the time. Each turn
    is prepared."""
    rounds: dict[Work, list[dict[str, float]]] = {ours: [], bare: []}
    for _ in range(ROUNDS):
        for work, measured in rounds.items():
            await prepare()
            measured.append(await in_child(work, url, **options))
    return _medians(rounds[ours]), _medians(rounds[bare])


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


if __name__ == "__main__":
    module, function, url, options = sys.argv[1:]
    work: Work = getattr(importlib.import_module(module), function)
    # On uvloop, as the services are.
    print(json.dumps(uvloop.run(work(url, **json.loads(options)))))  # type: ignore[arg-type]
