"""Settings of the Console service."""

from pathlib import Path

from shared.runtime.settings import HttpUrl, Port, ServiceSettings


class Settings(ServiceSettings):
    """See ServiceSettings for the rest."""

    order_url: HttpUrl = "http://127.0.0.1:8001"
    adapter_url: HttpUrl = "http://127.0.0.1:8002"
    scm_url: HttpUrl = "http://127.0.0.1:8003"
    audit_file: Path = Path("audit.jsonl")
    """Who did what to the messages, a JSON object a line. Nothing is moved while it cannot be written."""
    port: Port = 8000
