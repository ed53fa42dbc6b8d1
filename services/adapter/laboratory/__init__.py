"""Laboratory: demo orders and real faults at the press of a button. In development only."""

from services.adapter.laboratory.api import router
from services.adapter.laboratory.customers import Customers
from services.adapter.laboratory.experiment import Laboratory
from services.adapter.laboratory.faults import Faults
from services.adapter.laboratory.letterbox import Letterbox

__all__ = ["Customers", "Faults", "Laboratory", "Letterbox", "router"]
