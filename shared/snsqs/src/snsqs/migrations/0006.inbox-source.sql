-- Versions are those of an aggregate of one service: `source` is the service that published the event.
-- Rows from before have the source '' (unknown), which stays: a message of any source must be newer than it.
-- Instances of earlier releases cannot write to the table afterwards; stop them first.

ALTER TABLE inbox_version ADD COLUMN IF NOT EXISTS source text NOT NULL DEFAULT '';
ALTER TABLE inbox_version DROP CONSTRAINT IF EXISTS inbox_version_pkey;
ALTER TABLE inbox_version ADD CONSTRAINT inbox_version_pkey PRIMARY KEY (consumer, subject, source);

COMMENT ON COLUMN inbox_version.source IS 'the service that published the event; '''' if it is unknown';
