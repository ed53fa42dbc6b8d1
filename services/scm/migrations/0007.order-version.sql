-- Which version of the order said where the goods of the invoice are to go; NULL where nobody wrote it down.
-- depends: 0006.claims

ALTER TABLE fulfilment ADD COLUMN IF NOT EXISTS order_version bigint;
