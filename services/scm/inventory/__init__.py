"""Inventory: what is in stock, and for which orders it is set aside."""

from services.scm.inventory._api import router
from services.scm.inventory._reservation import reserve_goods

__all__ = ["reserve_goods", "router"]
