"""What the Adapter service reads from its environment."""

from pathlib import Path

from shared.settings import HttpUrl, ServiceSettings


class Settings(ServiceSettings):
    """See ServiceSettings for the rest."""

    routes_file: Path = Path(__file__).parent / "routes.toml"
    order_url: HttpUrl = "http://127.0.0.1:8001"
    scm_url: HttpUrl = "http://127.0.0.1:8003"
    audit_file: Path = Path("audit.jsonl")
    """Who did what to the messages, a JSON object a line. Nothing is moved while it cannot be written."""
    port: int = 8002
