-- The commands that were sent under an Idempotency-Key, and what they were answered.
-- depends: 0001.orders

CREATE TABLE IF NOT EXISTS idempotency_key (
    key         text PRIMARY KEY,
    fingerprint bytea NOT NULL,         -- of the request that the key stands for
    status      smallint,               -- the answer; NULL only inside the transaction that makes it
    headers     jsonb,
    body        text,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS idempotency_key_created ON idempotency_key (created_at);     -- for retention
