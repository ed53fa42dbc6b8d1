ALTER TABLE inbox DROP COLUMN duplicates;
