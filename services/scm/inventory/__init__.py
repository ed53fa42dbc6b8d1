"""Inventory: what is in stock, for which orders it is set aside, and which orders wait for goods."""

from services.scm.inventory._account import StockAccount, accounts
from services.scm.inventory._allocation import Allocation, AllocationOptions
from services.scm.inventory._api import STATUSES, router
from services.scm.inventory._bell import Bell
from services.scm.inventory._orders import StockOfOrder, of_order, of_orders
from services.scm.inventory._receipt import take_in_goods
from services.scm.inventory._reservation import let_goods_go, release_goods, reserve_goods
from services.scm.inventory._waiting_api import router as waiting_router

__all__ = [
    "STATUSES",
    "Allocation",
    "AllocationOptions",
    "Bell",
    "StockAccount",
    "StockOfOrder",
    "accounts",
    "let_goods_go",
    "of_order",
    "of_orders",
    "release_goods",
    "reserve_goods",
    "router",
    "take_in_goods",
    "waiting_router",
]
