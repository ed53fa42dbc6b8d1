-- What operators start, and the record of what they did.

CREATE TABLE IF NOT EXISTS operation (
    id               uuid PRIMARY KEY,
    what             text NOT NULL,
    who              text NOT NULL,
    target           text NOT NULL,
    dry_run          boolean NOT NULL,
    status           text NOT NULL CHECK (status IN ('running', 'done', 'cancelled', 'failed')),
    began_at         timestamptz NOT NULL,
    ended_at         timestamptz,
    progress         jsonb NOT NULL,
    cancel_requested boolean NOT NULL DEFAULT false,
    heartbeat_at     timestamptz NOT NULL DEFAULT now()
);

-- One operation at a time on each dead-letter queue and each event log, whichever instance runs it.
CREATE UNIQUE INDEX IF NOT EXISTS operation_running ON operation (target) WHERE status = 'running';

CREATE INDEX IF NOT EXISTS operation_began ON operation (began_at DESC, id DESC);

CREATE TABLE IF NOT EXISTS audit (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT now(),
    who      text NOT NULL,
    what     text NOT NULL,
    details  jsonb NOT NULL
);
