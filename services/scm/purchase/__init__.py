"""Purchase: buys goods that orders are short of from suppliers.

A purchase order is a contract with a supplier, so it stays when the order it was raised for is cancelled; its
goods become free stock.
"""

from services.scm.purchase._api import STATUSES, router
from services.scm.purchase._purchase_order import PurchaseOrder
from services.scm.purchase._purchasing import buy_missing_goods
from services.scm.purchase._store import bought_for, purchase_orders_of_order, received_quantities
from services.scm.purchase._supplies_api import router as supplies_router

__all__ = [
    "STATUSES",
    "PurchaseOrder",
    "bought_for",
    "buy_missing_goods",
    "purchase_orders_of_order",
    "received_quantities",
    "router",
    "supplies_router",
]
