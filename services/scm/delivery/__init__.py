"""Delivery: hands an order's goods to a carrier, under exactly one invoice."""

from services.scm.delivery._api import router
from services.scm.delivery._invoice import Delivery
from services.scm.delivery._orders import Orders

__all__ = ["Delivery", "Orders", "router"]
