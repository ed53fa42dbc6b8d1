"""Fixtures: a real PostgreSQL, a real SNS/SQS server and the services, on free ports."""

import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib import import_module

import asyncpg
import pytest
import structlog
from hypothesis import settings
from snsqs import AwsClients, aws_clients
from snsqs.events import ApplicationEventPublisher
from snsqs.outbox import EventLog
from snsqs.postgres import Database, connect

from local.ports import HOST, free_ports
from local.postgres import Postgres, postgres
from local.program import Program
from local.services import DATABASES
from local.system import aws_program
from shared.runtime.migration import migrate
from tests.scm.supply_chain import Scm, supply_chain
from tests.scm.warehouse import Warehouse, warehouse_at
from tests.serving import (
    Served,
    adapter_service,
    console_service,
    order_service,
    scm_service,
    serving,
)
from tests.snsqs.engines import AwsEngine, Engine, MemoryEngine
from tests.snsqs.relays import Adapter
from tests.system.systems import System, whole_system

pytest_plugins = ("tests.fast", "tests.failures")

REGION = "us-east-1"

# Plain tracebacks, because rendering the pretty ones takes longer than the tests.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

settings.register_profile("tests", max_examples=20)
settings.register_profile("proofs", max_examples=500)  # `make agreement`
settings.load_profile("tests")

_numbers = itertools.count(1)

_TEMPORARY_ROOT = "PYTEST_DEBUG_TEMPROOT"


def pytest_configure(config: pytest.Config) -> None:
    """Give each test run its own root of temporary folders.

    pytest closes the common one to other users whenever a run starts. PostgreSQL runs as another user when
    root runs the tests, so a second run would take the data folder away from the server of the first.
    """
    if _TEMPORARY_ROOT not in os.environ:  # set by the developer, or by the run that this is a worker of
        os.environ[_TEMPORARY_ROOT] = config.stash[_ROOT] = tempfile.mkdtemp(prefix="pytest-")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remove the temporary folders of a run that passed; those of a failed run hold its logs."""
    root = session.config.stash.get(_ROOT, None)
    if root is not None and exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(root, ignore_errors=True)


_ROOT = pytest.StashKey[str]()


@pytest.fixture(scope="module")
def silence() -> Iterator[None]:
    """Suppress logs in the rest of the module, where they would mix with a command's output."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    library = logging.getLogger("snsqs")
    library.setLevel(logging.CRITICAL)
    yield
    library.setLevel(logging.NOTSET)
    structlog.configure(**before)


@pytest.fixture(scope="session")
def postgres_server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with postgres(tmp_path_factory.mktemp("postgres") / "data") as server:
        for service in DATABASES:
            main = import_module(f"services.{service}.main")
            has_messages = hasattr(main, "HANDLERS")
            migrate(server.url(f"template_{service}"), main.MIGRATIONS, messaging=has_messages)
        yield server


@pytest.fixture(scope="session")
async def aws_server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """URL of the SNS/SQS server: the one that SNS_SQS_URL names, else ministack, which is started."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ[name] = "test"
    if named := os.environ.get("SNS_SQS_URL"):
        yield named
        return
    [port] = free_ports(1)
    program: Program = aws_program(port, tmp_path_factory.mktemp("aws"))
    url = f"http://{HOST}:{port}"
    await program.start()
    try:
        await program.wait_until_ready(f"{url}/_ministack/health")
        yield url
    finally:
        await program.stop()


async def emptied(aws_server: str) -> str:
    """Delete all topics and queues, and return the URL. An earlier listener may still have a poll open on a
    queue, which would receive the next message and lose it."""
    async with aws_clients(region=REGION, endpoint_url=aws_server) as clients:
        for url in (await clients.sqs.list_queues()).get("QueueUrls", []):
            await clients.sqs.delete_queue(QueueUrl=url)
        for subscription in (await clients.sns.list_subscriptions())["Subscriptions"]:
            await clients.sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
        for topic in (await clients.sns.list_topics())["Topics"]:
            await clients.sns.delete_topic(TopicArn=topic["TopicArn"])
    return aws_server


@pytest.fixture
async def aws_url(aws_server: str) -> str:
    """URL of the SNS/SQS server, without topics and queues."""
    return await emptied(aws_server)


@pytest.fixture
async def aws(aws_url: str) -> AsyncIterator[AwsClients]:
    async with aws_clients(region=REGION, endpoint_url=aws_url) as clients:
        yield clients


@pytest.fixture(params=["memory", pytest.param("server", marks=pytest.mark.processes)])
def engine(request: pytest.FixtureRequest) -> Engine:
    """The in-memory broker, and the SNS/SQS server of `aws_server`."""
    return MemoryEngine() if request.param == "memory" else AwsEngine(request.getfixturevalue("aws"))


@asynccontextmanager
async def fresh_database(server: Postgres, template: str) -> AsyncIterator[str]:
    """URL of a database with empty tables."""
    name = f"test_{next(_numbers)}"
    admin = await asyncpg.connect(server.url("postgres"))
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield server.url(name)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@pytest.fixture
async def order_database(postgres_server: Postgres) -> AsyncIterator[str]:
    async with fresh_database(postgres_server, "template_order") as url:
        yield url


@pytest.fixture
def event_log() -> EventLog:
    return EventLog()


@pytest.fixture
async def database(order_database: str, event_log: EventLog) -> AsyncIterator[Database]:
    """Database of the Order service, whose publisher appends to the event log."""
    async with connect(order_database, ApplicationEventPublisher([event_log])) as opened:
        yield opened


@pytest.fixture
async def fake() -> AsyncIterator[tuple[Adapter, str]]:
    """An adapter whose answers the test sets, and its URL."""
    adapter = Adapter()
    async with serving(adapter.app) as served:
        yield adapter, served.url


@pytest.fixture(scope="module")
async def lone_order_database(postgres_server: Postgres) -> AsyncIterator[str]:
    async with fresh_database(postgres_server, "template_order") as url:
        yield url


@pytest.fixture(scope="module")
async def lone_order(lone_order_database: str, aws_server: str) -> AsyncIterator[Served]:
    """One Order service for all tests of a module, without an adapter."""
    async with order_service(lone_order_database, aws_server, f"http://{HOST}:1") as served:
        yield served


@pytest.fixture
async def scm_database(postgres_server: Postgres) -> AsyncIterator[str]:
    async with fresh_database(postgres_server, "template_scm") as url:
        yield url


@pytest.fixture
async def adapter(aws_url: str) -> AsyncIterator[Served]:
    async with adapter_service(aws_url) as served:
        yield served


@pytest.fixture
async def console_database(postgres_server: Postgres) -> AsyncIterator[str]:
    async with fresh_database(postgres_server, "template_console") as url:
        yield url


@pytest.fixture
async def console(console_database: str, aws_url: str, adapter: Served) -> AsyncIterator[Served]:
    """The Console service and the adapter; the other services are down."""
    async with console_service(console_database, aws_url, adapter.registration) as served:
        yield served


@pytest.fixture
async def order(order_database: str, aws_url: str, adapter: Served) -> AsyncIterator[Served]:
    """The Order service and the adapter."""
    async with order_service(order_database, aws_url, adapter.url) as served:
        yield served


@pytest.fixture
async def scm(scm_database: str, aws_url: str, adapter: Served, order: Served) -> AsyncIterator[Served]:
    """The SCM service, the Order service and the adapter."""
    async with scm_service(scm_database, aws_url, adapter.url, order.url) as served:
        yield served


@pytest.fixture
async def warehouse(scm_database: str) -> AsyncIterator[Warehouse]:
    async with warehouse_at(scm_database) as opened:
        yield opened


@pytest.fixture(scope="module")
async def system(postgres_server: Postgres, aws_server: str) -> AsyncIterator[System]:
    """One system for all tests of a module."""
    url = await emptied(aws_server)
    async with (
        fresh_database(postgres_server, "template_order") as order_database,
        fresh_database(postgres_server, "template_scm") as scm_database,
        fresh_database(postgres_server, "template_console") as console_database,
        aws_clients(region=REGION, endpoint_url=url) as clients,
        whole_system(order_database, scm_database, console_database, clients, url) as running,
    ):
        yield running


@pytest.fixture(scope="module")
async def scm_alone(postgres_server: Postgres, aws_server: str) -> AsyncIterator[Scm]:
    """One SCM service for all tests of a module, with an Order service whose answers the test sets."""
    async with (
        fresh_database(postgres_server, "template_scm") as database_url,
        supply_chain(database_url, await emptied(aws_server)) as scm,
    ):
        yield scm
