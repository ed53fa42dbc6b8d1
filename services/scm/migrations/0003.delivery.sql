-- What becomes of an invoice, and one that is not void per order.
-- depends: 0001.scm

ALTER TABLE invoice ADD COLUMN IF NOT EXISTS voided_at timestamptz;
ALTER TABLE invoice ADD COLUMN IF NOT EXISTS dispatched_at timestamptz CHECK (voided_at IS NULL OR dispatched_at IS NULL);
ALTER TABLE invoice ADD COLUMN IF NOT EXISTS delivered_at timestamptz CHECK (delivered_at IS NULL OR dispatched_at IS NOT NULL);

ALTER TABLE invoice DROP CONSTRAINT IF EXISTS invoice_order_id_key;
CREATE UNIQUE INDEX IF NOT EXISTS invoice_live ON invoice (order_id) WHERE voided_at IS NULL;
CREATE INDEX IF NOT EXISTS invoice_order ON invoice (order_id, issued_at);
