-- Search in the event log, paged by position. `event_log_subject` serves one aggregate, `event_log_parked` and
-- `event_log_waiting` the events without a decision.

CREATE INDEX IF NOT EXISTS event_log_type ON event_log (type, position);
CREATE INDEX IF NOT EXISTS event_log_decision ON event_log (decision, position) WHERE decision IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_log_occurred ON event_log (occurred_at);
