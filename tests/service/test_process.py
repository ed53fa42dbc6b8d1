"""The process of a service, when one of its background loops ends or does not end."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from local.ports import free_ports
from shared.runtime.tokens import development_token
from tests.service import failing_service

pytestmark = pytest.mark.usefixtures("processes")


@asynccontextmanager
async def started(kind: str) -> AsyncIterator[Process]:
    """Start the service whose background loop ends in this way."""
    [port] = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        failing_service.__name__,
        kind,
        env={
            "ENVIRONMENT": "development",
            "PORT": str(port),
            "SERVICE_TOKEN": development_token("failing").get_secret_value(),
            "LOG_FORMAT": "json",
            "PATH": "",
        },
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(
    ("kind", "log"),
    [
        ("fail", "background loop failed"),
        ("panic", "background loop failed"),
        ("panic_in_a_group", "background loop failed"),
        ("leave", "background loop failed"),
        ("cancelled", "background loop failed"),
        ("end", "returned without being stopped"),
        ("exit_in_a_task", "a task ended the process"),
    ],
)
async def test_a_service_whose_background_loop_ends_exits_with_an_error(kind: str, log: str) -> None:
    """Whatever it ended with, a SystemExit(0) included."""
    async with started(kind) as process, asyncio.timeout(120):
        output, _ = await process.communicate()
        assert process.returncode == 1, output.decode()
        assert log in output.decode()


@pytest.mark.parametrize("kind", ["ignore_cancellation", "block"])
async def test_a_process_ends_although_a_handler_does_not(kind: str) -> None:
    """One that ignores every cancellation, or blocks the event loop during the shutdown."""
    async with started(kind) as process, asyncio.timeout(120):
        assert process.stdout is not None
        async for line in process.stdout:
            if b"serving" in line:
                break
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        assert process.returncode != 0
