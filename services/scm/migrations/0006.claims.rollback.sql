DROP INDEX waiting_order_failed, waiting_line_claim;
CREATE INDEX waiting_line_sku ON waiting_line (sku);
ALTER TABLE waiting_line DROP COLUMN position;
