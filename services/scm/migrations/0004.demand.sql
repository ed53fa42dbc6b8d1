-- Units of each article that were ordered each day.
-- depends: 0001.scm

CREATE TABLE IF NOT EXISTS demand (
    day   date NOT NULL,
    sku   text NOT NULL,
    units bigint NOT NULL CHECK (units > 0),
    PRIMARY KEY (day, sku)
);

CREATE INDEX IF NOT EXISTS demand_sku ON demand (sku) INCLUDE (units);     -- for totals
