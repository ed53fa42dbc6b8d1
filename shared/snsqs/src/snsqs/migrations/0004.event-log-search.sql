-- Searching the event log: pages by position, whatever is asked for. `event_log_subject` serves one order,
-- `event_log_parked` and `event_log_waiting` serve what has not left.
-- depends: 0001.event-log

CREATE INDEX IF NOT EXISTS event_log_type ON event_log (type, position);
CREATE INDEX IF NOT EXISTS event_log_decision ON event_log (decision, position) WHERE decision IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_log_occurred ON event_log (occurred_at);
