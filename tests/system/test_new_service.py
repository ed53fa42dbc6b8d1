"""`make new-service`: a fourth service is complete as generated, and every tool knows it."""

from pathlib import Path

import pytest

from local.new_service import CannotCreate, create_service
from tests.system.copies import copy_to, run

pytestmark = pytest.mark.usefixtures("processes")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this repository with the service billing."""
    root = copy_to(tmp_path_factory.mktemp("copy"))
    run(root, "local", "new-service", "billing")
    return root


def test_what_is_generated_passes_all_checks(copy: Path) -> None:
    """Lint, formatting, types and import contracts; its own tests, and those of what lists it."""
    run(copy, "ruff", "check", ".")
    run(copy, "ruff", "format", "--check", "services", "tests", "local")
    run(copy, "mypy", "services/billing", "tests/billing")
    output = run(
        copy, "pytest", "-q", "tests/billing", "tests/local/test_services.py", "tests/adapter/test_routes.py"
    )
    assert "passed" in output


def test_the_whole_system_knows_it(copy: Path, tmp_path: Path) -> None:
    """It exchanges events, and page, pause, replay, reconciliation and scaling include it."""
    run(copy, "tests.system.fourth_service", str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("scm", "there is a service scm already"),
        ("Billing", "'Billing' is no name of a service: 2 to 30 lower-case letters and digits"),
        ("class", "'class' is no name of a service: 2 to 30 lower-case letters and digits"),
        ("../x", "'../x' is no name of a service: 2 to 30 lower-case letters and digits"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name: str, reason: str, tmp_path: Path) -> None:
    """Before anything is written."""
    with pytest.raises(CannotCreate) as refused:
        create_service(tmp_path, name)
    assert str(refused.value) == reason
    assert list(tmp_path.iterdir()) == []
