"""Guide and README of the library: their programs run where only the library is installed."""

import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local.postgres import Postgres
from tests.conftest import fresh_database
from tests.snsqs.conftest import PROJECT, Installation

GUIDE = PROJECT / "docs" / "guide.md"
README = PROJECT / "README.md"
PAGES = sorted(path for path in GUIDE.parent.glob("*.md") if path != GUIDE)
CORE_PAGES = [page for page in PAGES if "pip install snsqs[" not in page.read_text()]

POSTGRES = "## Migrations"
"""The first section that needs the extras."""

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# A module of its own, because generic models look up their module by its name.
RUN = """
import pathlib, sys, types

def run(page, code):
    module = sys.modules["page"] = types.ModuleType("page")
    exec(compile(code, page, "exec", dont_inherit=True), vars(module))
    return module
"""

SERVICE = """
import asyncio, asyncpg, os
from snsqs import SnsChannel, Topology, aws_clients
from snsqs.migrations import migrate

database_url, endpoint_url = os.environ["DATABASE_URL"], os.environ["AWS_ENDPOINT_URL"]

async def find(connection, query):
    async with asyncio.timeout(20):
        while (value := await connection.fetchval(query)) is None:
            await asyncio.sleep(0.1)
    return value

async def main():
    await migrate(database_url)
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE bill (order_id text PRIMARY KEY, status text)")
    async with (
        page.billing_service(database_url, endpoint_url),
        aws_clients(region="us-east-1", endpoint_url=endpoint_url) as clients,
    ):
        channel = SnsChannel(clients.sns, Topology(clients, create=True), "order-events")
        await channel.send([page.completed])
        print("bill", await find(connection, "SELECT status FROM bill"))
        print("outbox", await find(connection, "SELECT decision FROM event_log"))
    await connection.close()

asyncio.run(main())
"""


@pytest.fixture
async def empty_database(postgres_server: Postgres) -> AsyncIterator[str]:
    async with fresh_database(postgres_server, "template1") as url:
        yield url


def python(text: str) -> str:
    """Return the Python blocks of a page, on the same lines as in the page."""
    code = ["\n"] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        for number, line in enumerate(block[1].splitlines(keepends=True), start=first):
            code[number] = line
    return "".join(code)


def run(
    page: Path, text: str, installed: Installation, folder: Path, *, then: str = "", **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run the blocks of `text` as one module, and `then` with this module as `page`. `folder` is empty."""
    (folder / "code.txt").write_text(python(text))
    program = f"{RUN}\npage = run({str(page)!r}, pathlib.Path('code.txt').read_text())\n{then}"
    return installed.run("-c", program, cwd=folder, **environment)


def test_the_core_sections_run_with_the_core_dependencies(
    core_installation: Installation, tmp_path: Path
) -> None:
    """Each block runs after those above it, and its asserts hold."""
    core, heading, _ = GUIDE.read_text().partition(POSTGRES)
    assert heading
    ran = run(GUIDE, core, core_installation, tmp_path)
    assert ran.returncode == 0, ran.stderr


async def test_the_service_of_the_guide_handles_an_order(
    empty_database: str, aws_url: str, full_installation: Installation, tmp_path: Path
) -> None:
    """All blocks run; the service creates its queue, and stores bill and event in one transaction."""
    ran = run(
        GUIDE,
        GUIDE.read_text(),
        full_installation,
        tmp_path,
        then=SERVICE,
        DATABASE_URL=empty_database,
        AWS_ENDPOINT_URL=aws_url,
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
    )
    assert ran.stdout.splitlines() == ["bill COMPLETED", "outbox forwarded"], ran.stderr


@pytest.mark.parametrize("page", CORE_PAGES, ids=lambda page: page.stem)
def test_the_pages_run_with_the_core_dependencies(
    page: Path, core_installation: Installation, tmp_path: Path
) -> None:
    """The pages on one topic, each as one program."""
    ran = run(page, page.read_text(), core_installation, tmp_path)
    assert ran.returncode == 0, ran.stderr


def test_the_program_of_the_readme_runs(core_installation: Installation, tmp_path: Path) -> None:
    """It is complete: publish and handle in memory."""
    ran = run(README, README.read_text(), core_installation, tmp_path)
    assert ran.stdout == "order 20210717235959000000 is completed\n", ran.stderr


@pytest.mark.parametrize("page", [GUIDE, README, *PAGES])
def test_every_python_block_is_found(page: Path) -> None:
    """A block that is indented or spelled `py` would be skipped."""
    text = page.read_text()
    fences = re.findall(r"^\s*```(\w+)", text, re.MULTILINE)
    assert fences.count("python") == len(BLOCK.findall(text))
    assert set(fences) <= {"python", "sh"}


def test_a_wrong_example_is_found(core_installation: Installation, tmp_path: Path) -> None:
    """With its line in the page."""
    text = "# Wrong\n\n```python\nx = 1\n```\n\nand then\n\n```python\nassert x == 2\n```\n"
    ran = run(Path("wrong.md"), text, core_installation, tmp_path)
    assert ran.returncode == 1
    assert 'File "wrong.md", line 10' in ran.stderr
