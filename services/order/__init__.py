"""The Order service: the truth about orders over REST, and what happened to them as events."""
