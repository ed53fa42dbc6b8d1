"""`make up` when its terminal is closed or stopped, its output is not read, or it is killed."""

import asyncio
import fcntl
import os
import pty
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from local.order import ORDER
from local.ports import Ports
from tests.local.processes import running_in
from tests.serving import eventually

pytestmark = pytest.mark.usefixtures("processes")

ROOT = Path(__file__).parent.parent.parent
F_SETPIPE_SZ = 1031
START_TIMEOUT = 180.0


class Up:
    """`python -m local up` in a folder, with its output on a file descriptor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = Ports.free()

    async def start(self, output: int, *, terminal: bool = False, shell: bool = False) -> None:
        environment = {f"{name.upper()}_PORT": str(port) for name, port in self.ports.by_name.items()}
        command = [sys.executable, "-m", "local", "up", "--folder", str(self.folder)]
        if shell:
            command = ["sh", "-c", f"{shlex.join(command)}; true"]  # `true`, or it would be replaced
        if terminal:  # the first terminal that the leader of a session opens
            open_it = f"import os, sys; os.open({os.ttyname(output)!r}, os.O_RDWR); "
            open_it += "os.execv(sys.argv[1], sys.argv[1:])"
            command = [sys.executable, "-c", open_it, *command]
        self.process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    async def is_ready(self) -> bool:
        """All services are ready."""
        assert self.process.returncode is None
        async with httpx.AsyncClient() as http:
            for service in ("order", "adapter", "scm", "console"):
                try:
                    if not (await http.get(f"{self.ports.url(service)}/readyz")).is_success:
                        return False
                except httpx.TransportError:
                    return False
        return True

    async def place_orders(self, count: int) -> None:
        """Each makes a few lines of output."""
        async with httpx.AsyncClient(base_url=self.ports.url("order"), timeout=10) as http:
            for _ in range(count):
                placed = await http.post("/orders", json=ORDER)
                (await http.post(f"/orders/{placed.json()['id']}/complete")).raise_for_status()

    async def nothing_runs(self) -> bool:
        """Neither the command nor a program that it started."""
        return running_in(self.folder) == []


@asynccontextmanager
async def started(
    folder: Path, output: int, *, terminal: bool = False, shell: bool = False
) -> AsyncIterator[Up]:
    up = Up(folder)
    await up.start(output, terminal=terminal, shell=shell)
    try:
        await eventually(up.is_ready, within=START_TIMEOUT)
        yield up
    finally:
        if up.process.returncode is None:
            up.process.kill()
        await up.process.wait()
        await eventually(up.nothing_runs)


async def test_a_stopped_and_closed_terminal(tmp_path: Path) -> None:
    """Ctrl-S stops the output, not the system; closing the terminal stops the system."""
    terminal, output = pty.openpty()
    async with started(tmp_path, output, terminal=True) as up:
        os.close(output)
        os.write(terminal, b"\x13")
        await up.place_orders(60)
        assert await up.is_ready()
        os.close(terminal)
        async with asyncio.timeout(60):
            await up.process.wait()
        await eventually(up.nothing_runs, within=5)


async def test_output_that_is_not_read(tmp_path: Path) -> None:
    """The system goes on, and stops when it is told to."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, F_SETPIPE_SZ, 4096)
    async with started(tmp_path, writing) as up:
        await up.place_orders(60)
        assert await up.is_ready()
        up.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await up.process.wait() == 0
        await eventually(up.nothing_runs, within=5)
    os.close(reading)
    os.close(writing)


async def test_output_that_is_closed(tmp_path: Path) -> None:
    """As in `make up | head`: the system stops."""
    reading, writing = os.pipe()
    async with started(tmp_path, writing) as up:
        os.close(writing)
        os.close(reading)
        with suppress(httpx.TransportError):  # it stops with the first line of output
            await up.place_orders(5)
        async with asyncio.timeout(60):
            await up.process.wait()
        await eventually(up.nothing_runs, within=5)


async def test_a_killed_parent(tmp_path: Path) -> None:
    """As `make` is of `make up`: the system stops."""
    async with started(tmp_path, output := os.open(os.devnull, os.O_WRONLY), shell=True) as up:
        os.close(output)
        up.process.kill()
        await up.process.wait()
        await eventually(up.nothing_runs)


async def test_a_killed_command(tmp_path: Path) -> None:
    """Its programs end, PostgreSQL included. Until then the folder is in use, and the error names them."""
    async with started(tmp_path, output := os.open(os.devnull, os.O_WRONLY)) as up:
        os.close(output)
        up.process.kill()
        await up.process.wait()
        reading, writing = os.pipe()
        second = Up(tmp_path)
        await second.start(writing)
        assert await second.process.wait() == 1
        os.close(writing)
        message = os.read(reading, 10_000).decode()
        os.close(reading)
        assert f"error: another system uses the data in {tmp_path}: stop it first (processes " in message
        await eventually(up.nothing_runs)
