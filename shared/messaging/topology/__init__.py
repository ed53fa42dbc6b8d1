"""Topology: the topics, queues and subscriptions that the handlers need, derived from their bindings.

The bindings are the contract. `Desired` says what a Binding asks for, and everything else goes by it:
`Topology` makes it in development, and `python -m shared.messaging.topology` shows it, applies it, and
reports where what exists has drifted from it.
"""

from shared.messaging.topology.desired import Account, Desired
from shared.messaging.topology.topology import Topology

__all__ = ["Account", "Desired", "Topology"]
