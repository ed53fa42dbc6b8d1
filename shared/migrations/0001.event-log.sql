-- The event log (outbox): every domain event, written in the transaction of its command,
-- and what became of it on its way out.

CREATE TABLE event_log (
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
    relayed_at      timestamptz,        -- when the relay took it up, and
    decided_at      timestamptz,        -- when the adapter decided about it
    decision        text CHECK (decision IN ('forwarded', 'held_back')),
    rule            text,
    message_id      text,
    CHECK ((decision IS NULL) = (decided_at IS NULL))
);

COMMENT ON COLUMN event_log.decision IS 'the adapter''s decision; NULL while the event waits to be relayed';

-- Claims read the waiting events only, however long the log grows.
CREATE INDEX event_log_waiting ON event_log (next_attempt_at, position) WHERE decision IS NULL;
CREATE INDEX event_log_subject ON event_log (subject, position);
