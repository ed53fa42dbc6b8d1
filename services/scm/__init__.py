"""The SCM service: inventory and delivery (supply chain management), reached by messages."""
