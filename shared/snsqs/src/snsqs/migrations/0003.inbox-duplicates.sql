-- How many deliveries of a message were absorbed after the first one: what shows that at-least-once happened,
-- and that its effect happened once.
-- depends: 0002.inbox

ALTER TABLE inbox ADD COLUMN IF NOT EXISTS duplicates integer NOT NULL DEFAULT 0;
