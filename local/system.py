"""LocalSystem: all processes of the system, started in the order of their readiness, stopped together."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from local.lock import FolderInUse, locked
from local.ports import HOST, Ports, free_ports
from local.postgres import Postgres, postgres
from local.program import OnLine, Program
from local.services import DATABASES, SERVICES, variable
from shared.runtime.tokens import DEVELOPMENT_OPERATOR, bearer

HYPERCORN = Path(__file__).parent.parent / ".venv-aws" / "bin" / "hypercorn"
"""ASGI server of the local SNS/SQS server."""
REGION = "us-east-1"

OPERATOR = bearer(DEVELOPMENT_OPERATOR.token)
"""HTTP headers of an operator of the local system."""

DEVELOPMENT_TOKENS = {
    "SERVICE_TOKEN": "",
    "SERVICE_TOKENS": "",
    "OPERATOR_TOKENS": f"{DEVELOPMENT_OPERATOR.name}:{DEVELOPMENT_OPERATOR.token.get_secret_value()}",
}
"""Environment variables that the services get explicitly, because the caller's may hold other tokens. An
empty one counts as not set."""


class CannotStart(Exception):
    """The system cannot start on this machine as it is. The message names the remedy."""


@dataclass
class LocalSystem:
    """The running system: its folder, ports, database server and programs."""

    folder: Path
    ports: Ports
    postgres: Postgres
    on_line: OnLine
    programs: dict[str, Program] = field(default_factory=dict)
    overrides: dict[str, dict[str, str]] = field(default_factory=dict)
    """Additional environment variables, by service; they apply from the next start."""
    lock: int | None = None
    """File descriptor of the locked folder, for its programs."""

    def database_url(self, service: str) -> str:
        return self.postgres.url(DATABASES[service])

    async def start_aws(self) -> None:
        program = self.programs["aws"] = aws_program(self.ports["aws"], self.folder, self.lock)
        await program.start()
        await program.wait_until_ready(f"{self.ports.url('aws')}/_ministack/health")

    async def migrate(self, service: str) -> None:
        """Apply the migrations of a service. Raises ProgramFailed."""
        program = self._program(f"migrate {service}", _python(service, "migrate"), self.environment(service))
        await program.start()
        await program.wait_for_success()

    async def start_service(self, service: str) -> None:
        """Start a service, also again, and return when it is ready. Raises ProgramFailed."""
        program = self.programs[service] = self._program(service, _python(service), self.environment(service))
        await program.start()
        await program.wait_until_ready(f"{self.ports.url(service)}/readyz")

    async def start_another(self, service: str) -> None:
        """Start a second instance, named `scm-2` for example, and return when it is ready. Raises
        ProgramFailed."""
        name, [port] = f"{service}-2", free_ports(1)
        environment = self.environment(service) | {"PORT": str(port)}
        if service in DATABASES:  # so that its sessions can be told from those of the first instance
            environment["DATABASE_URL"] += f"&application_name={name}"
        program = self.programs[name] = self._program(name, _python(service), environment)
        await program.start()
        await program.wait_until_ready(f"http://{HOST}:{port}/readyz")

    def environment(self, service: str) -> dict[str, str]:
        """Return the environment variables of a service."""
        return {
            "ENVIRONMENT": "development",
            "HOST": HOST,
            "PORT": str(self.ports[service]),
            "LOG_FORMAT": "console",
            **{variable(each.name, "URL"): self.ports.url(each.name) for each in SERVICES},
            "AWS_ENDPOINT_URL": self.ports.url("aws"),
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "NO_PROXY": HOST,
            **DEVELOPMENT_TOKENS,
            **({"DATABASE_URL": self.database_url(service)} if service in DATABASES else {}),
            **self.overrides.get(service, {}),
        }

    async def stop(self) -> None:
        """Stop the services, which drain, and then the SNS/SQS server that they drain into."""
        services = [program for name, program in self.programs.items() if name != "aws"]
        await asyncio.gather(*(program.stop() for program in services))
        if "aws" in self.programs:
            await self.programs["aws"].stop()

    def _program(self, name: str, command: list[str], environment: dict[str, str]) -> Program:
        log = self.folder / "logs" / f"{name.replace(' ', '-')}.log"
        return Program(name, command, environment, log=log, on_line=self.on_line, lock=self.lock)


def aws_program(port: int, folder: Path, lock: int | None = None) -> Program:
    """Return the local SNS/SQS server, on the loopback interface; its queues survive a clean restart."""
    if not HYPERCORN.exists():
        raise CannotStart("the local SNS/SQS server is not installed: run `make setup`")
    environment = {
        "ALLOWED_HOSTS": HOST,
        "GATEWAY_PORT": str(port),  # in the URLs of queues
        "SERVICES": "sqs,sns,cloudformation",
        "DOCKER_HOST": "unix:///nonexistent.sock",  # with Docker's socket its start removes containers
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "aws"),
        "LOG_LEVEL": "WARNING",
    }
    serve = f"local.aws_server:app --workers 0 --bind {HOST}:{port} --keep-alive 75 --log-level WARNING"
    command = [str(HYPERCORN), *serve.split()]
    return Program("aws", command, environment, log=folder / "logs" / "aws.log", lock=lock)


@asynccontextmanager
async def running_system(
    folder: Path,
    ports: Ports,
    on_line: OnLine = lambda _, __: None,
    *,
    fresh: bool = False,
    overrides: Mapping[str, Mapping[str, str]] | None = None,
) -> AsyncIterator[LocalSystem]:
    """Run the system with its data and logs in the folder; `fresh` deletes existing data first, `overrides`
    are environment variables by service.

    Raises CannotStart, InvalidPort, and ProgramFailed for a program that does not become ready.
    """
    with _own(folder, ports, fresh=fresh) as lock, postgres(folder / "postgres") as database:
        system = LocalSystem(folder, ports, database, on_line, lock=lock)
        system.overrides = {service: dict(each) for service, each in (overrides or {}).items()}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(system.start_aws())
                for service in DATABASES:
                    group.create_task(system.migrate(service))
            async with asyncio.TaskGroup() as group:
                for each in SERVICES:
                    group.create_task(system.start_service(each.name))
            yield system
        finally:
            await system.stop()


@contextmanager
def _own(folder: Path, ports: Ports, *, fresh: bool) -> Iterator[int]:
    """Create and lock the folder, and check the ports; `fresh` deletes the data in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(f"{folder}: cannot create the folder: {error.strerror}") from error
    try:
        with locked(folder) as lock:
            ports.check()
            for data in folder.iterdir() if fresh else ():
                if data.is_dir():
                    shutil.rmtree(data)
            yield lock
    except FolderInUse as error:
        raise CannotStart(str(error)) from error


def _python(service: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"services.{service}", *arguments]
