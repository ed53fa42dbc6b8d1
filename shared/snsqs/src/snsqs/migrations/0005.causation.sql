-- The message that caused an event, and the handler of a message: the lineage of an aggregate.

ALTER TABLE event_log ADD COLUMN IF NOT EXISTS cause text;
ALTER TABLE inbox ADD COLUMN IF NOT EXISTS handler text NOT NULL DEFAULT '';

COMMENT ON COLUMN event_log.cause IS 'the id of the message that was handled; NULL when it was a command';
