"""The one list of services, and the files that repeat it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from local.ports import InvalidPort, Ports
from local.services import SERVICES, variable

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return read


@pytest.mark.parametrize("service", SERVICES, ids=lambda each: each.name)
def test_every_service_is_in_docker_compose(service: Any, compose: dict[str, Any]) -> None:
    """Started, migrated, and reachable by the others under its address."""
    container = compose["services"].get(service.name)
    assert container, f"docker-compose.yml has no service {service.name}, which local/services.py lists"
    environment = container["environment"]
    assert container["command"] == f"python -m services.{service.name}"
    assert environment["PORT"] == service.port
    address = f"http://{service.name}:{service.port}"
    assert environment[variable(service.name, "URL")] == address
    assert service.name in environment["ALLOWED_HOSTS"].split(",")
    if service.database:
        assert environment["DATABASE_URL"] == f"postgresql://postgres@postgres/{service.database}"
        migration = f"DATABASE_URL={environment['DATABASE_URL']} python -m services.{service.name} migrate"
        assert migration in compose["services"]["migrate"]["command"][2].splitlines()


def test_compose_publishes_no_queues_unless_asked(compose: dict[str, Any]) -> None:
    """The port of the local SNS/SQS server belongs to a container that only a profile starts."""
    publishing = {name for name, each in compose["services"].items() if "4566" in str(each.get("ports"))}
    assert publishing == {"aws-port"}
    assert compose["services"]["aws-port"]["profiles"] == ["aws-port"]


@pytest.mark.parametrize("service", SERVICES, ids=lambda each: each.name)
def test_every_port_is_in_the_example_of_the_environment(service: Any) -> None:
    example = (ROOT / ".env.example").read_text().splitlines()
    assert f"#{variable(service.name, 'PORT')}={service.port}" in example


def test_every_package_of_a_service_is_listed() -> None:
    """Else nothing starts it."""
    packages = {each.parent.name for each in (ROOT / "services").glob("*/__main__.py")}
    listed = {each.name for each in SERVICES}
    assert packages == listed, f"services/ and local/services.py differ: {sorted(packages ^ listed)}"


@pytest.mark.parametrize(
    ("port", "reason"),
    [
        ("8003", "port 8003 is that of order and scm: choose another with SCM_PORT=…"),
        ("x", "ORDER_PORT=x is no port: it is a number from 1 to 65535"),
        ("65536", "ORDER_PORT=65536 is no port: it is a number from 1 to 65535"),
    ],
)
def test_ports_that_cannot_be_are_refused(port: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything starts."""
    monkeypatch.setenv("ORDER_PORT", port)
    with pytest.raises(InvalidPort) as refused:
        Ports.from_environment().check()
    assert str(refused.value) == reason
