-- Which message made a service publish an event, and which function handled a message: with them, the way of
-- an order is read off the rows instead of being guessed from their times.
-- depends: 0001.event-log 0002.inbox

ALTER TABLE event_log ADD COLUMN IF NOT EXISTS cause text;
ALTER TABLE inbox ADD COLUMN IF NOT EXISTS handler text NOT NULL DEFAULT '';

COMMENT ON COLUMN event_log.cause IS 'the id of the message that was handled; NULL when it was a command';
