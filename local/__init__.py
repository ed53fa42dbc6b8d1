"""The whole system on one machine without Docker: PostgreSQL, SNS/SQS, the three services, the demo."""
