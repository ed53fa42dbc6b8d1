"""Supervisor of the services of `make up`, and what other commands know of the running system."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx

from local.program import ProgramFailed
from local.services import SERVICES
from local.system import CannotStart, LocalSystem

MAX_CRASHES = 3
"""Number of times that a service is started again after it ended by itself."""

_POLL_INTERVAL = 0.2
_RESTART_TIMEOUT = 120.0


class Supervisor:
    """Keeps the services of a running system up. One that ends is started again, three times; then the others
    continue without it, until `restart` is called for it."""

    def __init__(self, system: LocalSystem, say: Callable[[str], None]) -> None:
        self._system = system
        self._say = say

    async def run(self) -> None:
        """Supervise until cancelled. Raises ProgramFailed, in a group, when PostgreSQL or the SNS/SQS server
        has ended: without them no service works."""
        file = _urls_file(self._system.folder)
        file.write_text(json.dumps({each.name: self._system.ports.url(each.name) for each in SERVICES}))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._system.postgres.watch())
                group.create_task(self._system.programs["aws"].watch())
                for service in SERVICES:
                    group.create_task(self._supervise(service.name))
        finally:
            file.unlink(missing_ok=True)

    async def _supervise(self, service: str) -> None:
        crashes = 0
        while True:
            ended = await self._wait(service)
            if ended is None:
                await self._system.programs[service].stop()
                crashes = 0
            else:
                crashes += 1
                self._say(str(self._system.programs[service].failure(f"ended with code {ended}")))
            if crashes > MAX_CRASHES:
                self._say(f"error: {service} ended {crashes} times; the others continue without it")
                await self._wait_for_request(service)
                crashes = 0
            self._say(f"starting {service} again")
            with suppress(ProgramFailed):  # the next round reports it
                await self._system.start_service(service)
            _request_file(self._system.folder, service).unlink(missing_ok=True)

    async def _wait(self, service: str) -> int | None:
        """Return the exit code of the service when it has ended, None when its restart is requested."""
        waits = {
            asyncio.create_task(self._system.programs[service].wait()),
            asyncio.create_task(self._wait_for_request(service)),
        }
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        return done.pop().result()

    async def _wait_for_request(self, service: str) -> None:
        while not _request_file(self._system.folder, service).exists():
            await asyncio.sleep(_POLL_INTERVAL)


def running_urls(folder: Path) -> dict[str, str]:
    """Return the URLs of the services of the system that runs in the folder; empty without one."""
    try:
        urls: dict[str, str] = json.loads(_urls_file(folder).read_text())
    except (OSError, ValueError):
        return {}
    return urls


async def run_restart(folder: Path, service: str) -> int:
    """Restart a service of the running system, and return 0 when it is ready. Raises CannotStart and
    ProgramFailed."""
    urls = running_urls(folder)
    if not urls:
        raise CannotStart(f"no system runs in {folder}: start it with `make up`")
    if service not in urls:
        raise CannotStart(f"there is no service {service!r}; there are {', '.join(urls)}")
    request = _request_file(folder, service)
    request.touch()
    try:
        async with asyncio.timeout(_RESTART_TIMEOUT), httpx.AsyncClient(trust_env=False) as http:
            while request.exists():
                await asyncio.sleep(_POLL_INTERVAL)
            with suppress(httpx.TransportError):
                if (await http.get(f"{urls[service]}/readyz")).is_success:
                    print(f"{service} is ready at {urls[service]}")
                    return 0
    except TimeoutError:
        request.unlink(missing_ok=True)
    raise ProgramFailed(f"{service} did not become ready; see {folder}/logs/{service}.log")


def _urls_file(folder: Path) -> Path:
    return folder / "running.json"


def _request_file(folder: Path, service: str) -> Path:
    return folder / f"restart.{service}"
