"""Topics, queues and subscriptions, derived from the handlers.

The bindings are the contract. `Desired` derives the attributes that a Binding requires of SNS and SQS;
`Topology` creates them in development; `python -m snsqs.topology` shows and applies them, and reports
where existing resources have drifted from them.
"""

from snsqs.topology._desired import Account, Desired
from snsqs.topology._existing import FoundQueue
from snsqs.topology._lookup import Lookup
from snsqs.topology._topology import Topology

__all__ = ["Account", "Desired", "FoundQueue", "Lookup", "Topology"]
