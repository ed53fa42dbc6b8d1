-- Number of further deliveries of a message, which had no effect.

ALTER TABLE inbox ADD COLUMN IF NOT EXISTS duplicates integer NOT NULL DEFAULT 0;
