-- Listeners that an operator has paused, in all instances of the service and across restarts.

CREATE TABLE IF NOT EXISTS paused_listener (
    queue     text PRIMARY KEY,
    paused_at timestamptz NOT NULL DEFAULT now(),
    paused_by text NOT NULL
);
