"""Order service: orders over REST, and their domain events."""
