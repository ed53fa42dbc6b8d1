-- The event log (outbox): every domain event, inserted in the transaction of its command, and its outcome.

CREATE TABLE IF NOT EXISTS event_log (
    position        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id              uuid NOT NULL UNIQUE,
    type            text NOT NULL,
    subject         text NOT NULL,
    sequence        bigint NOT NULL,
    occurred_at     timestamptz NOT NULL,
    traceparent     text,
    data            json NOT NULL,      -- the domain event as it is on the wire
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT '-infinity',
    last_error      text,
    parked_at       timestamptz,        -- set when it has failed too often to be retried
    relayed_at      timestamptz,        -- when the relay claimed it
    decided_at      timestamptz,        -- when the adapter, or the channel, decided on it
    decision        text CHECK (decision IN ('forwarded', 'held_back')),
    rule            text,
    message_id      text,
    CHECK ((decision IS NULL) = (decided_at IS NULL)),
    CHECK (parked_at IS NULL OR decision IS NULL)
);

COMMENT ON COLUMN event_log.decision IS 'the adapter''s decision; NULL while the event waits or is parked';

-- Partial indexes hold only the rows that their readers select, however long the log grows: the waiting ones
-- for claims (and for their count and age, by an index-only scan), the parked ones, the decided ones for retention.
CREATE INDEX IF NOT EXISTS event_log_waiting ON event_log (next_attempt_at, position) INCLUDE (occurred_at)
    WHERE decision IS NULL AND parked_at IS NULL;
CREATE INDEX IF NOT EXISTS event_log_parked ON event_log (parked_at) WHERE parked_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_log_decided ON event_log (decided_at) WHERE decided_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_log_subject ON event_log (subject, position);
