"""Program: a process of the system, from its start by readiness to its end."""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx

_STOP_MOST = 25.0
_START_MOST = 60.0


class ProgramFailed(Exception):
    """A program ended, or never became ready. The message says which, and what it said last."""


class Program:
    """A child process in a session of its own, so that Ctrl-C reaches it by way of us only.

    What it writes goes to a log file, and line by line to `tell`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        *,
        log: Path,
        tell: Callable[[str, str], None] = lambda _, __: None,
    ) -> None:
        self.name = name
        self._command = [str(part) for part in command]
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self._log = log
        self._tell = tell
        self._last: deque[str] = deque(maxlen=5)
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
        )
        self._reading = asyncio.create_task(self._read())

    async def ready(self, url: str) -> None:
        """Returns when the URL answers 200. Raises ProgramFailed."""
        try:
            async with asyncio.timeout(_START_MOST), httpx.AsyncClient(trust_env=False) as http:
                while not await self._answers(http, url):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise self.failure(f"was not ready after {_START_MOST:g} s") from None

    async def finished(self) -> None:
        """Returns when it ended well. Raises ProgramFailed when it did not."""
        if code := await self.ended():
            raise self.failure(f"ended with code {code}")

    async def watch(self) -> None:
        """Raises ProgramFailed when it ends, which it should not by itself."""
        raise self.failure(f"ended with code {await self.ended()}")

    async def ended(self) -> int:
        """Its exit code, when it has ended and all of its output is read."""
        assert self._process is not None, f"{self.name} was not started"
        assert self._reading is not None
        code = await self._process.wait()
        await self._reading
        return code

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for what has not ended after 25 s."""
        if self._process is None:
            return
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_MOST):
                await self.ended()
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self.ended()

    def failure(self, what: str) -> ProgramFailed:
        said = "".join(f"\n    {line}" for line in self._last)
        return ProgramFailed(f"{self.name} {what}; its log is {self._log}{said}")

    async def _answers(self, http: httpx.AsyncClient, url: str) -> bool:
        if self._process is not None and self._process.returncode is not None:
            raise self.failure(f"ended with code {await self.ended()}")
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
                self._last.append(text)
                self._tell(self.name, text)


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:  # longer than the reader's limit; the rest comes with the next call
        return b"(a very long line was left out)\n"
