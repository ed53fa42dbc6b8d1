"""What the Adapter service reads from its environment."""

from pathlib import Path

from shared.settings import HttpUrl, ServiceSettings


class Settings(ServiceSettings):
    """See ServiceSettings for the rest."""

    routes_file: Path = Path(__file__).parent / "routes.toml"
    order_url: HttpUrl = "http://127.0.0.1:8001"
    scm_url: HttpUrl = "http://127.0.0.1:8003"
    port: int = 8002
