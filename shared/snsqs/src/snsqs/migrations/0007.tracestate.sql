-- The vendors' part of an event's trace (W3C Trace Context), beside its traceparent.

ALTER TABLE event_log ADD COLUMN IF NOT EXISTS tracestate text;
