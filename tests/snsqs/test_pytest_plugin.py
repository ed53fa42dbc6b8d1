"""Pytest plugin, as a project has it where the library is installed."""

from pathlib import Path

import pytest

from tests.snsqs.conftest import Installation

TESTS = """
import asyncio

import pytest
from snsqs import Aggregate, Delivery, DomainEvent, QueueSettings, sqs_listener
from snsqs.testing import Faults, MemoryBroker


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


@pytest.mark.virtual_clock
@pytest.mark.memory_broker(settings=QueueSettings(max_receive_count=2), faults=Faults(duplicate=1))
class TestSettings:
    async def receive_counts(self, broker: MemoryBroker) -> list[int]:
        broker.listen(bill)
        await broker.publish(OrderCompleted(source=Aggregate(id="late", version=1)))
        await broker.join(raise_errors=False)
        return sorted(each.receive_count for each in broker.outcomes)

    async def test_of_the_class(self, memory_broker: MemoryBroker) -> None:
        assert await self.receive_counts(memory_broker) == [1, 1, 2, 2]

    @pytest.mark.memory_broker(settings=QueueSettings(max_receive_count=1))
    async def test_of_the_test(self, memory_broker: MemoryBroker) -> None:
        assert await self.receive_counts(memory_broker) == [1, 1]

    async def test_without_a_broker(self) -> None: ...

    @pytest.mark.parametrize("run", [1, 2])
    @pytest.mark.memory_broker(faults=Faults(seed=7))
    async def test_that_begins_with_the_seed(self, memory_broker: MemoryBroker, run: int) -> None:
        fresh = Faults(seed=7)
        drawn = [memory_broker.faults.occurs(0.5) for _ in range(20)]
        assert drawn == [fresh.occurs(0.5) for _ in range(20)]


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


def run(code: str, installed: Installation, folder: Path, *options: str) -> str:
    (folder / "test_billing.py").write_text(code)
    options = ("-q", "-p", "no:cacheprovider", "-W", "error", "--strict-markers", *options)
    return installed.run("-m", "pytest", *options, cwd=folder).stdout


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_the_fixture_and_the_marker_work(mode: str, full_installation: Installation, tmp_path: Path) -> None:
    """On both clocks, in every mode of pytest-asyncio and with fixtures that have another event loop."""
    options = [f"asyncio_mode={mode}", "asyncio_default_fixture_loop_scope=function"]
    output = run(TESTS, full_installation, tmp_path, *(part for each in options for part in ("-o", each)))
    assert "1 failed, 9 passed" in output, output
    assert "assert not <snsqs.testing" in output


def test_the_marker_needs_no_other_plugin(full_installation: Installation, tmp_path: Path) -> None:
    """Not even pytest-asyncio."""
    virtual = TESTS.partition("@pytest.mark.asyncio")[0]
    output = run(virtual, full_installation, tmp_path, "-p", "no:asyncio")
    assert "1 failed, 7 passed" in output, output


@pytest.mark.parametrize(
    ("test", "text"),
    [
        (
            "@pytest.mark.virtual_clock\ndef test(memory_broker): ...",
            "the marker virtual_clock is for `async def` tests",
        ),
        (
            "@pytest.mark.memory_broker(settings=None)\nasync def test(): ...",
            "the marker memory_broker has no effect without the fixture memory_broker",
        ),
        (
            "@pytest.mark.memory_broker(2)\nasync def test(memory_broker): ...",
            "the marker memory_broker takes keyword arguments only",
        ),
    ],
)
def test_a_marker_without_an_effect_is_an_error(
    test: str, text: str, full_installation: Installation, tmp_path: Path
) -> None:
    """It names test and marker."""
    (tmp_path / "test_wrong.py").write_text(f"import pytest\n\n{test}\n")
    ran = full_installation.run("-m", "pytest", "-q", "-p", "no:asyncio", cwd=tmp_path)
    assert ran.returncode == 4
    assert f"test_wrong.py::test: {text}" in ran.stderr
