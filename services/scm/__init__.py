"""SCM service (supply chain management): fulfils orders that it receives as messages."""
