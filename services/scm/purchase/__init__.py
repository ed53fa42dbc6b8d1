"""Purchase: buys from suppliers what orders are short of.

A purchase order stays when the order that it was raised for is cancelled: it is a contract with somebody
else. What comes is free stock then, for whoever waits or comes next.
"""

from services.scm.purchase._api import STATUSES, router
from services.scm.purchase._purchase_order import PurchaseOrder
from services.scm.purchase._shortage import buy_what_is_missing
from services.scm.purchase._store import of_order
from services.scm.purchase._supplies_api import router as supplies_router

__all__ = [
    "STATUSES",
    "PurchaseOrder",
    "buy_what_is_missing",
    "of_order",
    "router",
    "supplies_router",
]
