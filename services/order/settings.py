"""What the Order service reads from its environment."""

from shared.service import EventDrivenSettings


class Settings(EventDrivenSettings):
    """See EventDrivenSettings for the rest."""

    port: int = 8001
