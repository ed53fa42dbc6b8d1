ALTER TABLE event_log DROP COLUMN cause;
ALTER TABLE inbox DROP COLUMN handler;
