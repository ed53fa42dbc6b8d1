"""Console: people see what happens to the messages. It reads only, and costs nothing while nobody looks."""

from services.console.watch.api import router
from services.console.watch.dead_letters import DeadLetters
from services.console.watch.live import Live
from services.console.watch.queues import Queues
from services.console.watch.stations import Stations

__all__ = ["DeadLetters", "Live", "Queues", "Stations", "router"]
