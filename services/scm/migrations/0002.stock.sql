-- The ledger of the stock, what became of a reservation, and the orders that wait for goods.
-- depends: 0001.scm

-- Every change of what is on hand, and why: on_hand is the sum of an article's movements.
CREATE TABLE IF NOT EXISTS stock_movement (
    position  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku       text NOT NULL REFERENCES stock,
    quantity  bigint NOT NULL CHECK (quantity <> 0),
    reason    text NOT NULL CHECK (reason IN ('OPENED', 'COUNTED', 'RECEIVED', 'DISPATCHED')),
    reference text,                     -- who counted, what the goods came or left under
    moved_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX IF NOT EXISTS stock_movement_sku ON stock_movement (sku, position) INCLUDE (quantity);

-- What was there before there was a ledger.
INSERT INTO stock_movement (sku, quantity, reason)
SELECT sku, on_hand, 'OPENED'
FROM stock
WHERE on_hand > 0 AND NOT EXISTS (SELECT FROM stock_movement WHERE stock_movement.sku = stock.sku);

ALTER TABLE reservation ADD COLUMN IF NOT EXISTS status text NOT NULL DEFAULT 'OPEN'
    CHECK (status IN ('OPEN', 'RELEASED', 'DISPATCHED'));

CREATE INDEX IF NOT EXISTS reservation_open ON reservation (sku) INCLUDE (quantity) WHERE status = 'OPEN';

CREATE TABLE IF NOT EXISTS waiting_order (
    order_id        text PRIMARY KEY,
    position        bigint GENERATED ALWAYS AS IDENTITY UNIQUE,    -- its place in the queue
    since           timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT '-infinity',
    last_error      text,
    parked_at       timestamptz         -- when it had failed too often to be tried again by itself
);

CREATE TABLE IF NOT EXISTS waiting_line (
    order_id text NOT NULL REFERENCES waiting_order ON DELETE CASCADE,
    sku      text NOT NULL REFERENCES stock,
    quantity bigint NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, sku)
);

CREATE INDEX IF NOT EXISTS waiting_line_sku ON waiting_line (sku);

-- Orders that were short before there was a queue to wait in; their ids are in the order of their placing.
INSERT INTO waiting_order (order_id)
SELECT order_id
FROM fulfilment
WHERE status = 'SHORT'
ORDER BY order_id
ON CONFLICT DO NOTHING;

INSERT INTO stock (sku, on_hand)
SELECT DISTINCT line.sku, 0
FROM fulfilment, jsonb_to_recordset(fulfilment.lines) AS line (sku text, quantity bigint)
WHERE status = 'SHORT'
ON CONFLICT DO NOTHING;

INSERT INTO waiting_line (order_id, sku, quantity)
SELECT order_id, line.sku, line.quantity
FROM fulfilment, jsonb_to_recordset(fulfilment.lines) AS line (sku text, quantity bigint)
WHERE status = 'SHORT'
ON CONFLICT DO NOTHING;
