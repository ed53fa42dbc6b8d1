"""In-process events: dispatch by type, order, and the transaction of the listeners."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypedDict

import asyncpg
import pytest
from snsqs.events import ApplicationEventPublisher, EventCycle, NotAListener, event_listener
from snsqs.postgres import Transaction, connect
from typing_extensions import TypeAliasType


@dataclass(frozen=True)
class Baked:
    name: str


@dataclass(frozen=True)
class BreadBaked(Baked): ...


@dataclass(frozen=True)
class Eaten:
    name: str


class Kneaded(TypedDict):
    name: str


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
async def url(scm_database: str) -> AsyncIterator[str]:
    connection = await asyncpg.connect(scm_database)
    await connection.execute("CREATE TABLE loaf (name text)")
    yield scm_database
    await connection.close()


async def loaves(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return [row["name"] for row in await connection.fetch("SELECT name FROM loaf")]
    finally:
        await connection.close()


async def publish(url: str, event: object, *listeners: object) -> None:
    """Publishes in a transaction that stores a loaf first."""
    publisher = ApplicationEventPublisher(listeners)  # type: ignore[arg-type]
    async with connect(url, publisher) as database, database.transaction() as tx:
        await tx.connection.execute("INSERT INTO loaf VALUES ('rye')")
        await tx.publish(event)


async def test_listeners_accept_their_type_its_subclasses_and_unions(url: str, calls: list[str]) -> None:
    """In the order of their registration, each once."""

    @event_listener
    async def on_baked(event: Baked, tx: Transaction) -> None:
        calls.append(f"baked {event.name}")

    @event_listener
    async def on_bread(event: BreadBaked, tx: Transaction) -> None:
        calls.append(f"bread {event.name}")

    @event_listener
    async def on_either(event: Eaten | Baked, tx: Transaction) -> None:
        calls.append(f"either {event.name}")

    @event_listener
    async def on_eaten(event: Eaten, tx: Transaction) -> None:
        calls.append("eaten")

    await publish(url, BreadBaked("rye"), on_either, on_bread, on_eaten, on_baked)
    assert calls == ["either rye", "bread rye", "baked rye"]


async def test_an_object_listens_as_well(url: str, calls: list[str]) -> None:
    """Spring's ApplicationListener: `on_application_event`, with the type in its annotation."""

    class Baker:
        async def on_application_event(self, event: Baked, tx: Transaction) -> None:
            calls.append(event.name)

    await publish(url, Baked("rye"), Baker())
    await publish(url, Eaten("rye"), Baker())
    assert calls == ["rye"]


async def test_a_listener_works_in_the_publishers_transaction(url: str) -> None:
    """Its rows are committed with those of the publisher."""

    @event_listener
    async def bake_another(event: Baked, tx: Transaction) -> None:
        await tx.connection.execute("INSERT INTO loaf VALUES ('wheat')")

    await publish(url, Baked("rye"), bake_another)
    assert await loaves(url) == ["rye", "wheat"]


async def test_an_error_in_a_listener_rolls_the_command_back(url: str) -> None:
    """And is raised to the caller."""

    @event_listener
    async def burn(event: Baked, tx: Transaction) -> None:
        raise RuntimeError("burnt")

    with pytest.raises(RuntimeError, match="burnt"):
        await publish(url, Baked("rye"), burn)
    assert await loaves(url) == []


async def test_after_commit_listeners_run_after_the_commit(url: str) -> None:
    """They run when another connection can read the command's rows."""
    seen: list[list[str]] = []

    @event_listener(after_commit=True)
    async def read(event: Baked, tx: Transaction) -> None:
        seen.append(await loaves(url))

    await publish(url, Baked("rye"), read)
    assert seen == [["rye"]]


async def test_after_commit_listeners_do_not_run_after_a_rollback(url: str, calls: list[str]) -> None:
    """No commit, no call."""

    @event_listener(after_commit=True)
    async def on_baked(event: Baked, tx: Transaction) -> None:
        calls.append("called")

    @event_listener
    async def burn(event: Baked, tx: Transaction) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await publish(url, Baked("rye"), on_baked, burn)
    assert calls == []


async def test_a_cycle_of_events_is_an_error_with_its_path(url: str) -> None:
    """Instead of a recursion without end."""

    @event_listener
    async def eat(event: Baked, tx: Transaction) -> None:
        await tx.publish(Eaten(event.name))

    @event_listener
    async def bake(event: Eaten, tx: Transaction) -> None:
        await tx.publish(Baked(event.name))

    with pytest.raises(EventCycle, match="Baked → Eaten → Baked"):
        await publish(url, Baked("rye"), eat, bake)
    assert await loaves(url) == []


def test_other_functions_are_rejected_at_registration() -> None:
    """Unmarked, or without an event type in its annotation."""

    async def unmarked(event: Baked, tx: Transaction) -> None: ...

    @event_listener
    async def untyped(event, tx) -> None: ...  # type: ignore[no-untyped-def]

    for listener in (unmarked, untyped):
        with pytest.raises(NotAListener, match=listener.__name__):
            ApplicationEventPublisher([listener])


def test_a_listener_that_cannot_be_called_is_found_at_start() -> None:
    """Instead of at the first event, or never."""

    @event_listener  # type: ignore[type-var]
    def synchronous(event: Baked, tx: Transaction) -> None: ...

    @event_listener  # type: ignore[type-var]
    async def generator(event: Baked, tx: Transaction) -> AsyncIterator[None]:
        yield

    @event_listener
    async def of_a_list(event: list[Baked], tx: Transaction) -> None: ...

    @event_listener
    async def of_a_typed_dict(event: Kneaded, tx: Transaction) -> None: ...

    @event_listener
    async def of_anything(event: Any, tx: Transaction) -> None: ...

    for listener, reason in (
        (synchronous, "must be `async def "),
        (generator, "must be `async def "),
        (of_a_list, "list[tests.snsqs.test_events.Baked], which is no class of events"),
        (of_a_typed_dict, "Kneaded'>, which is no class of events"),
        (of_anything, "typing.Any, which is no class of events"),
    ):
        with pytest.raises(NotAListener) as raised:
            ApplicationEventPublisher([listener])  # type: ignore[list-item]
        assert listener.__name__ in str(raised.value)
        assert reason in str(raised.value)


async def test_a_listener_accepts_what_an_alias_stands_for(url: str, calls: list[str]) -> None:
    """And `object`, which is any event."""
    either = TypeAliasType("either", Eaten | Baked)

    @event_listener
    async def on_either(event: either, tx: Transaction) -> None:
        calls.append("either")

    @event_listener
    async def on_any(event: object, tx: Transaction) -> None:
        calls.append("any")

    await publish(url, BreadBaked("rye"), on_either, on_any)
    assert calls == ["either", "any"]
