"""The three services. None of them imports another: they meet over REST and over messages."""
