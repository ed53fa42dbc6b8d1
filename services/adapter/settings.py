"""What the Adapter service reads from its environment."""

from pathlib import Path

from pydantic import Field

from shared.runtime.settings import EnvironmentSettings, HttpUrl, Port, ServiceSettings
from shared.runtime.tokens import DEVELOPMENT_SERVICE, Token


class RoutesSettings(EnvironmentSettings):
    """What is enough to check and try routes: the file, and where real events are read."""

    routes_file: Path = Path(__file__).parent / "routes.toml"
    order_url: HttpUrl = "http://127.0.0.1:8001"
    scm_url: HttpUrl = "http://127.0.0.1:8003"
    service_token: Token = Field(DEVELOPMENT_SERVICE, validate_default=True)


class Settings(RoutesSettings, ServiceSettings):
    """See ServiceSettings for the rest."""

    port: Port = 8002
