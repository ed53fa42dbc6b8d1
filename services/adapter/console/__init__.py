"""Console: people see what happens to the messages. It reads only, and costs nothing while nobody looks."""

from services.adapter.console.api import router
from services.adapter.console.dead_letters import DeadLetters
from services.adapter.console.decisions import Decisions
from services.adapter.console.live import Live
from services.adapter.console.queues import Queues
from services.adapter.console.stations import Stations

__all__ = ["DeadLetters", "Decisions", "Live", "Queues", "Stations", "router"]
