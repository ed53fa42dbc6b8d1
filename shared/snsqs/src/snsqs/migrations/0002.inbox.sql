-- The inbox: every message that a consumer has handled, so that a second delivery has no effect,
-- and the newest version of each aggregate, so that an older one has none.

CREATE TABLE IF NOT EXISTS inbox (
    consumer      text NOT NULL,
    message_id    text NOT NULL,
    type          text NOT NULL,
    subject       text NOT NULL,
    sequence      bigint,
    receive_count integer NOT NULL,
    outcome       text NOT NULL DEFAULT 'handled' CHECK (outcome IN ('handled', 'superseded')),
    received_at   timestamptz NOT NULL,
    handled_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, message_id)
);

CREATE INDEX IF NOT EXISTS inbox_subject ON inbox (subject, received_at);
CREATE INDEX IF NOT EXISTS inbox_received ON inbox (received_at);     -- for retention

-- Has no retention: the version still rejects a late message whose record has expired. One row per aggregate.
CREATE TABLE IF NOT EXISTS inbox_version (
    consumer text NOT NULL,
    subject  text NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (consumer, subject)
);
