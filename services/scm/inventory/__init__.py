"""Inventory: stock, its reservation for orders, and the orders that wait for goods."""

from services.scm.inventory._account import StockAccount, stock_accounts
from services.scm.inventory._allocation import Allocation, AllocationOptions, AllocationSignal
from services.scm.inventory._api import STATUSES, router
from services.scm.inventory._order_stock import OrderStock, claims_of_orders, stock_of_order, stock_of_orders
from services.scm.inventory._reservation import dispatch_goods, release_goods, reserve_goods
from services.scm.inventory._stock import receive_goods
from services.scm.inventory._waiting_api import router as waiting_router

__all__ = [
    "STATUSES",
    "Allocation",
    "AllocationOptions",
    "AllocationSignal",
    "OrderStock",
    "StockAccount",
    "claims_of_orders",
    "dispatch_goods",
    "receive_goods",
    "release_goods",
    "reserve_goods",
    "router",
    "stock_accounts",
    "stock_of_order",
    "stock_of_orders",
    "waiting_router",
]
