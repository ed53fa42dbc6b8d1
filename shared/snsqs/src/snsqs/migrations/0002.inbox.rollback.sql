DROP TABLE inbox_version;
DROP TABLE inbox;
