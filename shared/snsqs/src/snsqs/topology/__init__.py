"""Topology: the topics, queues and subscriptions that the handlers need, derived from their bindings.

The bindings are the contract. `Desired` says what a Binding asks for, and everything else goes by it:
`Topology` makes it in development, and `python -m snsqs.topology` shows it, applies it, and
reports where what exists has drifted from it.
"""

from snsqs.topology._desired import Account, Desired
from snsqs.topology._lookup import FoundQueue, Lookup
from snsqs.topology._topology import Topology

__all__ = ["Account", "Desired", "FoundQueue", "Lookup", "Topology"]
