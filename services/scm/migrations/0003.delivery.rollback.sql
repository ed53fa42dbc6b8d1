DROP INDEX invoice_order, invoice_live;
DELETE FROM invoice WHERE voided_at IS NOT NULL;
ALTER TABLE invoice ADD CONSTRAINT invoice_order_id_key UNIQUE (order_id);
ALTER TABLE invoice DROP COLUMN voided_at, DROP COLUMN dispatched_at, DROP COLUMN delivered_at;
