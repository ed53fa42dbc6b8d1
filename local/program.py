"""Program: a child process of the local system."""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx

STOP_TIMEOUT = 25.0
"""Seconds between SIGTERM and SIGKILL; services drain for up to 20 s."""

START_TIMEOUT = 180.0
"""Seconds until a program must be ready, also on a slow machine; one that ends is noticed at once."""


class ProgramFailed(Exception):
    """A program ended or never became ready. The message names it, its log and its last lines of output."""


OnLine = Callable[[str, str], None]
"""Called with the name of a program and a line of its output."""


class Program:
    """A child process in a session of its own, so that Ctrl-C reaches it only through its parent.

    `environment` is added to that of the parent, without its settings of AWS and PostgreSQL. Each line of
    output is appended to the file `log` and passed to `on_line` with the name of the program. `lock` is the
    file descriptor of `local.lock.locked`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        *,
        log: Path,
        on_line: OnLine = lambda _, __: None,
        lock: int | None = None,
    ) -> None:
        self.name = name
        self._command = [str(part) for part in command]
        self._environment = {**_inherited(), "PYTHONUNBUFFERED": "1", **environment}
        self._log = log
        self._on_line = on_line
        self._pass_fds = () if lock is None else (lock,)
        self._last_lines: deque[str] = deque(maxlen=5)
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    async def start(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            pass_fds=self._pass_fds,
        )
        self._reading = asyncio.create_task(self._read())

    async def wait_until_ready(self, url: str) -> None:
        """Return when the URL answers 200. Raises ProgramFailed."""
        try:
            async with asyncio.timeout(START_TIMEOUT), httpx.AsyncClient(trust_env=False) as http:
                while not await self._answers(http, url):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise self.failure(f"was not ready after {START_TIMEOUT:g} s") from None

    async def wait_for_success(self) -> None:
        """Return when it has ended with code 0. Raises ProgramFailed for any other code."""
        if code := await self.wait():
            raise self.failure(f"ended with code {code}")

    async def watch(self) -> None:
        """Raises ProgramFailed as soon as the program ends."""
        raise self.failure(f"ended with code {await self.wait()}")

    async def wait(self) -> int:
        """Return the exit code once it has ended and all of its output is read."""
        assert self._process is not None, f"{self.name} was not started"
        assert self._reading is not None
        code = await self._process.wait()
        await self._reading
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if it has not ended after 25 s."""
        if self._process is None:
            return
        self.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self.wait()
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            await self.wait()

    def failure(self, reason: str) -> ProgramFailed:
        last_lines = "".join(f"\n    {line}" for line in self._last_lines)
        return ProgramFailed(f"{self.name} {reason}; its log is {self._log}{last_lines}")

    async def _answers(self, http: httpx.AsyncClient, url: str) -> bool:
        if self._process is not None and self._process.returncode is not None:
            raise self.failure(f"ended with code {await self.wait()}")
        with suppress(httpx.TransportError):
            return (await http.get(url, timeout=5)).status_code == httpx.codes.OK
        return False

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._log.open("a", encoding="utf-8") as log:
            while line := await _line(self._process.stdout):
                text = line.decode(errors="replace").rstrip("\n")
                log.write(f"{text}\n")
                log.flush()
                self._last_lines.append(text)
                self._on_line(self.name, text)


def _inherited() -> dict[str, str]:
    """Return the environment without the developer's own AWS and PostgreSQL settings (`AWS_PROFILE`,
    `PGPASSWORD`), with which a local program would reach for another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PG"))}


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:  # longer than the reader's limit; the rest comes with the next call
        return b"(a line over 64 KiB was dropped)\n"
