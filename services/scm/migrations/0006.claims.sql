-- A claim is found by article and place in the queue, however many orders wait.
-- depends: 0002.stock

ALTER TABLE waiting_line ADD COLUMN IF NOT EXISTS position bigint;    -- the order's; NULL claims nothing

UPDATE waiting_line
SET position = waiting_order.position
FROM waiting_order
WHERE waiting_order.order_id = waiting_line.order_id AND parked_at IS NULL;

CREATE INDEX IF NOT EXISTS waiting_line_claim ON waiting_line (sku, position) INCLUDE (quantity)
    WHERE position IS NOT NULL;
DROP INDEX IF EXISTS waiting_line_sku;

CREATE INDEX IF NOT EXISTS waiting_order_failed ON waiting_order (position) WHERE last_error IS NOT NULL;
