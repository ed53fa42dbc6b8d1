"""Child processes: each measurement runs in a process of its own, and contains nothing else."""

import asyncio
import importlib
import json
import logging
import statistics
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import uvloop

ROUNDS = 3

Work = Callable[..., Awaitable[dict[str, float]]]
"""Is given options, such as a server's URL, and returns what it measured."""


async def in_child(work: Work, **options: Any) -> dict[str, float]:
    """Run `work`, a module-level function, in a process of its own. Return its measurement."""
    command = [sys.executable, "-m", __name__, work.__module__, work.__name__, json.dumps(options)]
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


def log_warnings_only() -> None:
    """Log warnings only, to standard error."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


async def alternating(
    ours: Work, bare: Work, prepare: Callable[[], Awaitable[None]], **options: Any
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the medians of both, measured alternately because the machine's speed varies. Each round is
    prepared."""
    rounds: dict[Work, list[dict[str, float]]] = {ours: [], bare: []}
    for _ in range(ROUNDS):
        for work, measured in rounds.items():
            await prepare()
            measured.append(await in_child(work, **options))
    return _medians(rounds[ours]), _medians(rounds[bare])


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


if __name__ == "__main__":
    log_warnings_only()
    module, function, options = sys.argv[1:]
    work: Work = getattr(importlib.import_module(module), function)
    # On uvloop, as the services are.
    print(json.dumps(uvloop.run(work(**json.loads(options)))))  # type: ignore[arg-type]
