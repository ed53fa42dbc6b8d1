"""Faults: what `make chaos` does to a running system."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg

from local.fault_proxy import FaultProxy
from local.services import DATABASES
from local.system import LocalSystem

_FAULT_DURATION = 3.0
"""Seconds, of faults that do not end by themselves."""
_FREEZE_DURATION = 40.0
_MAX_DELAY = 30.0
"""Seconds for which a frozen instance may delay another one."""
_OPEN_TRANSACTION_TIMEOUT = 90.0
"""Seconds until an instance under load has a transaction open."""

_END_CONNECTIONS = """
    SELECT count(pg_terminate_backend(pid))
    FROM pg_stat_activity
    WHERE datname = $1 AND pid <> pg_backend_pid()
"""

_TRANSACTIONS = """
    SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state LIKE 'idle in transaction%'
"""
_WAITING = "SELECT count(*) FROM event_log WHERE occurred_at < $1 AND decision IS NULL AND parked_at IS NULL"

_GARBAGE = (
    b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 19\r\n\r\n{"results": "sure"}'
)
_ERROR = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@dataclass(frozen=True)
class _Frozen:
    """An instance that is stopped in a transaction, and the time of that."""

    service: str
    name: str
    at: datetime


@dataclass
class Faults:
    """Faults of a running system with proxies in front of SNS/SQS and the adapter."""

    system: LocalSystem
    aws: FaultProxy
    adapter: FaultProxy

    async def kill(self, program: str) -> None:
        self.system.programs[program].send_signal(signal.SIGKILL)
        await self.system.programs[program].wait()

    def kill_and_restart(self, service: str) -> Callable[[], Awaitable[None]]:
        async def fault() -> None:
            await self.kill(service)
            await asyncio.sleep(1)
            await self.system.start_service(service)

        return fault

    async def kill_one_of_two(self) -> None:
        """Start a second instance of SCM, which shares the queues, and kill it."""
        await self.system.start_another("scm")
        await asyncio.sleep(_FAULT_DURATION)
        await self.kill("scm-2")

    async def end_connections(self) -> None:
        """Let PostgreSQL end all connections, those of the relays included."""
        for service, database in DATABASES.items():
            connection = await asyncpg.connect(self.system.database_url(service))
            try:
                await connection.execute(_END_CONNECTIONS, database)
            finally:
                await connection.close()

    async def restart_postgres(self) -> None:
        await asyncio.to_thread(self.system.postgres.restart)

    async def refuse_aws(self) -> None:
        async with self.aws.refusing():
            await asyncio.sleep(_FAULT_DURATION)

    async def fail_adapter(self) -> None:
        async with self.adapter.responding(_ERROR):
            await asyncio.sleep(_FAULT_DURATION)

    async def garble_adapter(self) -> None:
        async with self.adapter.responding(_GARBAGE):
            await asyncio.sleep(_FAULT_DURATION)

    async def delay_adapter(self) -> None:
        async with self.adapter.delaying(5):
            await asyncio.sleep(_FAULT_DURATION)

    async def freeze_in_transactions(self) -> None:
        """Start second instances of SCM and Order, and freeze each for 40 s while it has a transaction open:
        SCM while it handles a message, Order while its relay has claimed events."""
        await self.system.start_another("scm")
        await self.system.start_another("order")
        async with self.adapter.delaying(2), asyncio.TaskGroup() as group:
            frozen = [group.create_task(self._freeze_in_transaction(name)) for name in ("scm", "order")]
        async with asyncio.TaskGroup() as group:
            for task in frozen:
                group.create_task(self._thaw(task.result()))

    async def _freeze_in_transaction(self, service: str) -> "_Frozen":
        """Stop the second instance of the service while it has a transaction open."""
        name = f"{service}-2"
        async with asyncio.timeout(_OPEN_TRANSACTION_TIMEOUT):
            while True:
                self.system.programs[name].send_signal(signal.SIGSTOP)
                at = datetime.now(UTC)
                await asyncio.sleep(0.1)  # a statement that runs ends
                if await self._transactions(service, name):
                    return _Frozen(service, name, at)
                self.system.programs[name].send_signal(signal.SIGCONT)
                await asyncio.sleep(0.02)

    async def _thaw(self, frozen: "_Frozen") -> None:
        """Continue a frozen instance after 40 s and stop it. Raises ProgramFailed if its transaction or an
        event that it had claimed outlived the 30 s of G10."""
        await asyncio.sleep(_MAX_DELAY)
        held = await self._transactions(frozen.service, frozen.name)
        waiting = await self._fetchval(frozen.service, _WAITING, frozen.at)
        await asyncio.sleep(_FREEZE_DURATION - _MAX_DELAY)
        program = self.system.programs[frozen.name]
        program.send_signal(signal.SIGCONT)
        await program.stop()
        if held or waiting:
            raise program.failure(
                f"was frozen for {_MAX_DELAY:g} s and delays others: {held} open transactions, "
                f"{waiting} events from before wait"
            )

    async def _transactions(self, service: str, instance: str) -> int:
        return await self._fetchval(service, _TRANSACTIONS, instance)

    async def _fetchval(self, service: str, query: str, *arguments: object) -> int:
        connection = await asyncpg.connect(self.system.database_url(service))
        try:
            return int(await connection.fetchval(query, *arguments))
        finally:
            await connection.close()

    def by_name(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "kill -9 order": self.kill_and_restart("order"),
            "kill -9 adapter": self.kill_and_restart("adapter"),
            "kill -9 console": self.kill_and_restart("console"),
            "kill -9 scm": self.kill_and_restart("scm"),
            "kill -9 one of two scm": self.kill_one_of_two,
            "database connections ended": self.end_connections,
            "PostgreSQL restarted": self.restart_postgres,
            "SNS/SQS unreachable": self.refuse_aws,
            "adapter answers 500": self.fail_adapter,
            "adapter answers garbage": self.garble_adapter,
            "adapter delayed by 5 s": self.delay_adapter,
            "SCM and relay frozen in transactions": self.freeze_in_transactions,
        }
