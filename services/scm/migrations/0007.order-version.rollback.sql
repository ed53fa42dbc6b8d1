ALTER TABLE fulfilment DROP COLUMN order_version;
