"""OutboxRelay: the relay of an outbox, as a MemoryBroker runs it."""

from typing import Protocol


class OutboxBacklog(Protocol):
    """Size of an outbox; `snsqs.outbox.Backlog`."""

    @property
    def waiting(self) -> int:
        """Events that wait to be relayed."""
        ...

    @property
    def parked(self) -> int:
        """Events that failed too often."""
        ...


class OutboxRelay(Protocol):
    """Relay of an outbox that `MemoryBroker.attach` runs; `snsqs.outbox.Relay`."""

    async def run(self) -> None:
        """Relay events until `stop`."""
        ...

    def stop(self) -> None:
        """End `run`."""
        ...

    async def backlog(self) -> OutboxBacklog:
        """Return how many events wait and how many are parked."""
        ...
