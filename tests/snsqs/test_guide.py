"""Guide and README of the library: a newcomer's first service, step by step."""

import asyncio
import os
import re
import signal
import subprocess
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from snsqs import aws_clients
from snsqs.aws import transient_errors
from snsqs.topology import Lookup

from local.ports import HOST, free_ports
from local.system import HYPERCORN
from tests.conftest import REGION
from tests.serving import eventually
from tests.snsqs.conftest import Installation, install
from tests.snsqs.pages import FILE, GUIDE, PAGES, README, run

COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)

INSTALL, START_SERVER, START_SERVICE, SEND, TEST = COMMANDS.findall(GUIDE.read_text())

REQUIREMENTS = Path(__file__).parent.parent.parent / "requirements"


@pytest.fixture(scope="module")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """`pip install snsqs pytest`."""
    return install(tmp_path_factory.mktemp("first") / ".venv", wheel, extras=(), also=["pytest"])


@pytest.fixture
def folder(installation: Installation, tmp_path: Path) -> Path:
    """A folder with the files that the guide writes, and the environments that it installs."""
    for name, code in FILE.findall(GUIDE.read_text()):
        (tmp_path / name).write_text(code)
    (tmp_path / ".venv").symlink_to(installation.root)
    (tmp_path / ".venv-aws").symlink_to(HYPERCORN.parent.parent)
    return tmp_path


@asynccontextmanager
async def shell(commands: str, folder: Path) -> AsyncIterator[Process]:
    """Run commands as in a terminal of their own, whose Ctrl-C ends them."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", commands),
        cwd=folder,
        env={},
        stdout=PIPE,
        stderr=STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        await interrupt(process)


async def interrupt(process: Process) -> str:
    """Press Ctrl-C, and return the rest of the output."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGINT)
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    return output.decode()


def test_the_guide_installs_the_server_of_this_project() -> None:
    """In the version that the other tests run on."""
    [version] = re.findall(r"pip install (ministack==\S+)", INSTALL)
    assert version in (REQUIREMENTS / "aws.in").read_text().split()


async def test_the_first_service_handles_an_event(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Server, service and publisher are started by the commands of the guide; Ctrl-C ends the service."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    [port] = free_ports(1)
    start_server, start_service, send = (
        commands.replace("4566", str(port)) for commands in (START_SERVER, START_SERVICE, SEND)
    )

    async def is_subscribed() -> bool:
        try:
            return bool(await Lookup(clients).subscribed("order-events"))
        except transient_errors():
            return False

    async with (
        shell(start_server, folder),
        shell(start_service, folder) as service,
        aws_clients(region=REGION, endpoint_url=f"http://{HOST}:{port}") as clients,
    ):
        await eventually(is_subscribed)
        async with shell(send, folder) as sender:
            output, _ = await sender.communicate()
            assert (sender.returncode, output) == (0, b"")
        assert service.stdout is not None
        async with asyncio.timeout(60):
            while (line := await service.stdout.readline()) != b"bill for order 42\n":
                assert b"queue not reached" in line  # the server was started at the same time
        assert await interrupt(service) == ""


def test_the_first_test_passes(folder: Path) -> None:
    """With the command of the guide."""
    ran = subprocess.run(["sh", "-c", TEST], cwd=folder, env={}, capture_output=True, text=True, check=False)
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_linked_from_the_guide(page: Path) -> None:
    """In its list of pages."""
    assert f"]({page.name}" in GUIDE.read_text()


def test_the_program_of_the_readme_runs(core_installation: Installation, tmp_path: Path) -> None:
    """It is complete: publish and handle in memory."""
    ran = run(README, README.read_text(), core_installation, tmp_path)
    assert ran.stdout == "order 20210717235959000000 is completed\n", ran.stderr
