"""Laboratory: demo orders and real faults at the press of a button. In development only."""

from services.console.experiments.api import router
from services.console.experiments.customers import Customers
from services.console.experiments.experiment import Laboratory
from services.console.experiments.letterbox import Letterbox

__all__ = ["Customers", "Laboratory", "Letterbox", "router"]
