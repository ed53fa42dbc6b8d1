-- The listeners that a person has paused: all instances of the service keep to it, until it is resumed.
-- depends: 0001.event-log

CREATE TABLE IF NOT EXISTS paused_listener (
    queue     text PRIMARY KEY,
    paused_at timestamptz NOT NULL DEFAULT now(),
    paused_by text NOT NULL
);
