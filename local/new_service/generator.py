"""Generator of a service: its files from templates, and its entries in the files that name every service."""

import keyword
import re
from collections.abc import Callable
from pathlib import Path

from local.services import SERVICES

_FILES = Path(__file__).parent / "files"
_NAME = re.compile(r"[a-z][a-z0-9]{1,29}")

_TEMPLATE, _TEMPLATE_PORT = "billing", 8004
"""Name and port that the templates are written for."""


class CannotCreate(Exception):
    """The service cannot be added. The message names the reason; nothing was written."""


def create_service(root: Path, name: str) -> list[Path]:
    """Add the service to the repository at `root` and return the files that are new or changed. Raises
    CannotCreate before anything is written."""
    port = max(each.port for each in SERVICES) + 1
    _check(root, name)
    files = {
        **_files(root / "services" / name, _FILES / "service", name, port),
        **_files(root / "tests" / name, _FILES / "tests", name, port),
        **_changed(root, name, port),
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(files)


def _check(root: Path, name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise CannotCreate(f"{name!r} is no name of a service: 2 to 30 lower-case letters and digits")
    if name in {*(each.name for each in SERVICES), "aws", "postgres", "migrate", "snsqs"}:
        raise CannotCreate(f"there is a service {name} already")
    for folder in (root / "services" / name, root / "tests" / name):
        if folder.exists():
            raise CannotCreate(f"{folder} exists already")


def _files(target: Path, templates: Path, name: str, port: int) -> dict[Path, str]:
    return {
        target / _filled(str(each.relative_to(templates)), name, port).removesuffix(".txt"): _filled(
            each.read_text(), name, port
        )
        for each in sorted(templates.rglob("*.txt"))
    }


def _filled(text: str, name: str, port: int) -> str:
    """Return a template's text with name and port of the new service."""
    for old, new in (
        (_TEMPLATE, name),
        (_TEMPLATE.capitalize(), name.capitalize()),
        (_TEMPLATE.upper(), name.upper()),
        (str(_TEMPLATE_PORT), str(port)),
    ):
        text = text.replace(old, new)
    return text


def _changed(root: Path, name: str, port: int) -> dict[Path, str]:
    """Return the texts of the files that name every service. Raises CannotCreate if a place is not found."""

    def edited(file: str, *edits: Callable[[str], str]) -> tuple[Path, str]:
        path = root / file
        text = path.read_text()
        for edit in edits:
            try:
                text = edit(text)
            except LookupError as error:
                raise CannotCreate(f"{file}: no place found to add {name}: {error}") from None
        return path, text

    def after(line: str, added: str) -> Callable[[str], str]:
        """Add lines after the last one that matches the pattern."""
        return lambda text: _after_last(text, line, _filled(added, name, port))

    return dict(
        (
            edited(
                "local/services.py",
                after(
                    r"    ServiceDefinition\(.*", f'    ServiceDefinition("billing", {port}, "billing"),\n'
                ),
            ),
            edited(
                "docker-compose.yml",
                after(r"  [A-Z]+_URL: http://[a-z0-9]+:80\d\d", "  BILLING_URL: http://billing:8004\n"),
                lambda text: re.sub(r"(?m)^(  ALLOWED_HOSTS: .*)$", rf"\1,{name}", text, count=1),
                after(r"        DATABASE_URL=\S+ python -m services\.\w+ migrate", _MIGRATION),
                lambda text: _before(
                    text, "  # Ports of the services that can be scaled", _filled(_SERVICE, name, port)
                ),
                lambda text: _before(text, "  migrate:\n", _filled(_PORT, name, port)),
            ),
            edited(
                ".env.example",
                after(r"#[A-Z0-9]+_PORT=80\d\d", "#BILLING_PORT=8004\n"),
                after(r"#[A-Z0-9]+_TOKEN=.*", "#BILLING_TOKEN=development-billing-service-token\n"),
            ),
            edited("pyproject.toml", lambda text: _with_contract(text, name)),
            edited("services/adapter/routes.toml", lambda text: text + _filled(_ROUTES, name, port)),
            edited(
                "README.md",
                after(
                    r"\| SCM's replies at the order .*",
                    "| Billing service | `services/billing/` | `listener.py`, `main.py` |\n",
                ),
            ),
        )
    )


def _after_last(text: str, line: str, added: str) -> str:
    found = list(re.finditer(rf"(?m)^{line}$\n", text))
    if not found:
        raise LookupError(line)
    end = found[-1].end()
    return text[:end] + added + text[end:]


def _before(text: str, marker: str, added: str) -> str:
    place = text.find(marker)
    if place < 0:
        raise LookupError(marker.strip())
    return text[:place] + added + text[place:]


def _with_contract(text: str, name: str) -> str:
    """Return pyproject.toml with the service in the contract that keeps services independent."""
    found = re.search(
        r'name = "No service knows another service"\ntype = "independence"\nmodules = \[(.*?)\]', text
    )
    if found is None:
        raise LookupError("the import contract of the services")
    return text[: found.end(1)] + f', "services.{name}"' + text[found.end(1) :]


_SERVICE = """\
  billing:
    <<: *service
    command: python -m services.billing
    environment:
      <<: *settings
      PORT: 8004
      SERVICE_TOKEN: ${BILLING_TOKEN:-}
      DATABASE_URL: postgresql://postgres@postgres/billing
    depends_on: *migrated

"""

_PORT = """\
  billing-port:
    <<: *port
    command: socat TCP4-LISTEN:8004,fork,reuseaddr TCP4:billing:8004
    ports: ["127.0.0.1:${BILLING_PORT:-8004}:8004"]
    depends_on: [billing]

"""

_MIGRATION = (
    "        DATABASE_URL=postgresql://postgres@postgres/billing python -m services.billing migrate\n"
)

_ROUTES = """
[published.billing]
EntryRecorded = ["id", "version", "pieces"]

[[route]]
id = "entries-of-billing"
source = "billing"
type = "EntryRecorded"
topic = "billing-events"
"""
