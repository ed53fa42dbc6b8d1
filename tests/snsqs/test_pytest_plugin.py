"""Pytest plugin, as a project has it where the library is installed."""

from pathlib import Path

import pytest

from tests.snsqs.conftest import Installation

TESTS = """
import asyncio

import pytest
from snsqs import Aggregate, Delivery, DomainEvent, sqs_listener
from snsqs.testing import MemoryBroker


class OrderCompleted(DomainEvent): ...


@sqs_listener("billing-queue", topic="order-events")
async def bill(event: OrderCompleted, delivery: Delivery) -> None:
    if delivery.receive_count < 5 and event.source.id == "late":
        raise RuntimeError("not yet")


class TestBilling:
    @pytest.mark.virtual_clock
    @pytest.mark.parametrize("order_id", ["1", "late"])
    async def test_on_the_virtual_clock(self, memory_broker: MemoryBroker, order_id: str, tmp_path) -> None:
        memory_broker.listen(bill)
        event = OrderCompleted(source=Aggregate(id=order_id, version=1))
        await asyncio.sleep(3600)
        await memory_broker.publish(event)
        await memory_broker.join()
        assert memory_broker.handled(OrderCompleted) == [event]

    @pytest.mark.virtual_clock
    async def test_that_fails(self, memory_broker: MemoryBroker) -> None:
        assert not memory_broker


@pytest.mark.asyncio(loop_scope="session")
async def test_on_the_real_clock(memory_broker: MemoryBroker) -> None:
    memory_broker.listen(bill)
    await memory_broker.publish(OrderCompleted(source=Aggregate(id="1", version=1)))
    await memory_broker.join()
    assert len(memory_broker.handled(OrderCompleted)) == 1
    global running
    running = asyncio.all_tasks()


@pytest.mark.asyncio(loop_scope="session")
async def test_the_listeners_of_the_test_before_are_stopped() -> None:
    assert len(running) > 1
    assert asyncio.all_tasks() == {asyncio.current_task()}
"""

WRONG = """
import pytest

@pytest.mark.virtual_clock
def test_synchronous(memory_broker): ...
"""


def run(code: str, installed: Installation, folder: Path, *options: str) -> str:
    (folder / "test_billing.py").write_text(code)
    options = ("-q", "-p", "no:cacheprovider", "-W", "error", "--strict-markers", *options)
    return installed.run("-m", "pytest", *options, cwd=folder).stdout


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_the_fixture_and_the_marker_work(mode: str, full_installation: Installation, tmp_path: Path) -> None:
    """On both clocks, in every mode of pytest-asyncio and with fixtures that have another event loop."""
    options = [f"asyncio_mode={mode}", "asyncio_default_fixture_loop_scope=function"]
    output = run(TESTS, full_installation, tmp_path, *(part for each in options for part in ("-o", each)))
    assert "1 failed, 4 passed" in output, output
    assert "assert not <snsqs.testing" in output


def test_the_marker_needs_no_other_plugin(full_installation: Installation, tmp_path: Path) -> None:
    """Not even pytest-asyncio."""
    virtual = TESTS.partition("@pytest.mark.asyncio")[0]
    output = run(virtual, full_installation, tmp_path, "-p", "no:asyncio")
    assert "1 failed, 2 passed" in output, output


def test_the_marker_on_a_function_is_an_error(full_installation: Installation, tmp_path: Path) -> None:
    """It would have no effect."""
    (tmp_path / "test_wrong.py").write_text(WRONG)
    ran = full_installation.run("-m", "pytest", "-q", "-p", "no:asyncio", cwd=tmp_path)
    assert ran.returncode == 4
    assert "the marker virtual_clock is for `async def` tests" in ran.stderr
