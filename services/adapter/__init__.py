"""The Adapter service: decides which events leave, translates them, and bridges them into SNS."""
