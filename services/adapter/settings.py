"""What the Adapter service reads from its environment."""

from pathlib import Path

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """See ServiceSettings for the rest."""

    routes_file: Path = Path(__file__).parent / "routes.toml"
    port: int = 8002
