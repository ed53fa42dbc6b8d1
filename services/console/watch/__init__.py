"""Watch: live view of stations, decisions and lineages. Read-only, idle while no client is connected."""

from services.console.watch.api import router
from services.console.watch.depths import Depths
from services.console.watch.lineage import Lineages
from services.console.watch.live import Live
from services.console.watch.stations import Stations

__all__ = ["Depths", "Lineages", "Live", "Stations", "router"]
