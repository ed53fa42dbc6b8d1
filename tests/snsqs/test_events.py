"""In-process events: who hears what, in which order, in which transaction."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest
from snsqs.events import ApplicationEventPublisher, EventCycle, NotAListener, event_listener
from snsqs.postgres import Transaction, connect


@dataclass(frozen=True)
class Baked:
    name: str


@dataclass(frozen=True)
class BreadBaked(Baked): ...


@dataclass(frozen=True)
class Eaten:
    name: str


@pytest.fixture
def heard() -> list[str]:
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


async def test_listeners_hear_their_type_its_subclasses_and_their_unions(url: str, heard: list[str]) -> None:
    """In the order of their registration, each once."""

    @event_listener
    async def on_baked(event: Baked, tx: Transaction) -> None:
        heard.append(f"baked {event.name}")

    @event_listener
    async def on_bread(event: BreadBaked, tx: Transaction) -> None:
        heard.append(f"bread {event.name}")

    @event_listener
    async def on_either(event: Eaten | Baked, tx: Transaction) -> None:
        heard.append(f"either {event.name}")

    @event_listener
    async def on_eaten(event: Eaten, tx: Transaction) -> None:
        heard.append("eaten")

    await publish(url, BreadBaked("rye"), on_either, on_bread, on_eaten, on_baked)
    assert heard == ["either rye", "bread rye", "baked rye"]


async def test_an_object_listens_as_well(url: str, heard: list[str]) -> None:
    """Spring's ApplicationListener: `on_application_event`, with the type in its annotation."""

    class Baker:
        async def on_application_event(self, event: Baked, tx: Transaction) -> None:
            heard.append(event.name)

    await publish(url, Baked("rye"), Baker())
    await publish(url, Eaten("rye"), Baker())
    assert heard == ["rye"]


async def test_a_listener_works_in_the_publishers_transaction(url: str) -> None:
    """What it writes is there with the command's own rows."""

    @event_listener
    async def bake_another(event: Baked, tx: Transaction) -> None:
        await tx.connection.execute("INSERT INTO loaf VALUES ('wheat')")

    await publish(url, Baked("rye"), bake_another)
    assert await loaves(url) == ["rye", "wheat"]


async def test_an_error_in_a_listener_rolls_the_command_back(url: str) -> None:
    """And reaches whoever gave the command."""

    @event_listener
    async def burn(event: Baked, tx: Transaction) -> None:
        raise RuntimeError("burnt")

    with pytest.raises(RuntimeError, match="burnt"):
        await publish(url, Baked("rye"), burn)
    assert await loaves(url) == []


async def test_after_commit_listeners_see_what_was_committed(url: str) -> None:
    """They run when another connection can read the command's rows."""
    seen: list[list[str]] = []

    @event_listener(after_commit=True)
    async def look(event: Baked, tx: Transaction) -> None:
        seen.append(await loaves(url))

    await publish(url, Baked("rye"), look)
    assert seen == [["rye"]]


async def test_after_commit_listeners_do_not_hear_what_was_rolled_back(url: str, heard: list[str]) -> None:
    """No commit, no call."""

    @event_listener(after_commit=True)
    async def on_baked(event: Baked, tx: Transaction) -> None:
        heard.append("told")

    @event_listener
    async def burn(event: Baked, tx: Transaction) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await publish(url, Baked("rye"), on_baked, burn)
    assert heard == []


async def test_a_circle_of_events_is_an_error_that_names_it(url: str) -> None:
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


def test_what_is_not_a_listener_is_refused_at_registration() -> None:
    """Unmarked, or without an event type in its annotation."""

    async def unmarked(event: Baked, tx: Transaction) -> None: ...

    @event_listener
    async def untyped(event, tx) -> None: ...  # type: ignore[no-untyped-def]

    for listener in (unmarked, untyped):
        with pytest.raises(NotAListener, match=listener.__name__):
            ApplicationEventPublisher([listener])
