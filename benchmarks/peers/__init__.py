"""Other libraries that take messages from SQS, each in an environment of its own."""
