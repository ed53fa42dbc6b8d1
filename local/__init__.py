"""The whole system on one machine without Docker: PostgreSQL, SNS/SQS, the four services, the demo."""
