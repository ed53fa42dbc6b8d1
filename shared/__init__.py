"""What every service's process has, and the messaging library inside it. Imports no service."""
