"""Pages of the documentation beside the guide: their blocks run, each page as one program."""

import re
from pathlib import Path

import pytest

from local.postgres import Postgres
from tests.conftest import fresh_database
from tests.snsqs.conftest import Installation
from tests.snsqs.pages import BLOCK, DOCS, GUIDE, PAGES, README, run

CORE_PAGES = [page for page in PAGES if "pip install snsqs[" not in page.read_text()]
"""Pages that need no extra."""

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

TESTING = """
import asyncio
asyncio.run(page.test_a_bill_is_issued_once({url!r}))
"""

STACKS = """
import asyncio
from psycopg_pool import AsyncConnectionPool
from snsqs.migrations import migrate
from snsqs.testing import MemoryBroker
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

url = {url!r}

async def handle(broker, handler, order_id):
    broker.listen(handler)
    broker.attach(page.relay_to(broker.topic("billing-events")))
    await broker.publish(page.OrderCompleted(source=page.Aggregate(id=order_id, version=1)))
    await broker.join()
    assert broker.handled(page.OrderCompleted)

async def main():
    await migrate(url)
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    page.sessions.configure(bind=engine)
    async with engine.begin() as connection:
        await connection.run_sync(page.Base.metadata.create_all)
    async with AsyncConnectionPool(url, open=False) as pool:
        await page.issue_by_hand("1")
        await page.issue_with_psycopg("2", pool)
        async with MemoryBroker(middleware=page.middleware) as broker:
            await handle(broker, page.on_order_completed, "3")
            assert [each.source.id for each in broker.published(page.BillIssued)] == ["1", "2", "3"]
        async with MemoryBroker(middleware=[page.inbox_on(pool)]) as broker:
            await handle(broker, page.on_completed, "4")
            assert [each.source.id for each in broker.published(page.BillIssued)] == ["4"]
    await engine.dispose()

asyncio.run(main())
"""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page: Path, full_installation: Installation, tmp_path: Path) -> None:
    """One after the other, and their asserts hold."""
    ran = run(page, page.read_text(), full_installation, tmp_path)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("page", CORE_PAGES, ids=lambda page: page.stem)
def test_most_pages_run_with_the_core_dependencies(
    page: Path, core_installation: Installation, tmp_path: Path
) -> None:
    """All that name no extra."""
    ran = run(page, page.read_text(), core_installation, tmp_path)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("page", [GUIDE, README, *PAGES], ids=lambda page: page.stem)
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


async def test_the_service_with_outbox_and_inbox_handles_an_order(
    postgres_server: Postgres, aws_url: str, full_installation: Installation, tmp_path: Path
) -> None:
    """It creates its queue, and stores bill and event in one transaction."""
    page = DOCS / "outbox-and-inbox.md"
    async with fresh_database(postgres_server, "template1") as url:
        ran = run(
            page,
            page.read_text(),
            full_installation,
            tmp_path,
            then=SERVICE,
            DATABASE_URL=url,
            AWS_ENDPOINT_URL=aws_url,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",
        )
    assert ran.stdout.splitlines() == ["bill COMPLETED", "outbox forwarded"], ran.stderr


async def test_the_database_test_of_the_testing_page_passes(
    postgres_server: Postgres, full_installation: Installation, tmp_path: Path
) -> None:
    """On an empty database."""
    page = DOCS / "testing.md"
    async with fresh_database(postgres_server, "template0") as url:
        ran = run(page, page.read_text(), full_installation, tmp_path, then=TESTING.format(url=url))
    assert ran.returncode == 0, ran.stderr


async def test_the_services_of_the_page_on_other_stacks_work(
    postgres_server: Postgres, full_installation: Installation, tmp_path: Path
) -> None:
    """Commands and handlers on SQLAlchemy and psycopg append events, which the relay publishes."""
    page = DOCS / "other-stacks.md"
    async with fresh_database(postgres_server, "template0") as url:
        ran = run(page, page.read_text(), full_installation, tmp_path, then=STACKS.format(url=url))
    assert ran.returncode == 0, ran.stderr


def test_the_tests_of_the_testing_page_pass(full_installation: Installation, tmp_path: Path) -> None:
    """With pytest, and the core dependencies."""
    code = "".join(BLOCK.findall((DOCS / "testing.md").read_text().partition("## With PostgreSQL")[0]))
    (tmp_path / "test_page.py").write_text(code)
    ran = full_installation.run("-m", "pytest", "-q", "-p", "no:asyncio", cwd=tmp_path)
    assert "2 passed" in ran.stdout, ran.stdout
