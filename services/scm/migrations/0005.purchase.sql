-- Who supplies what, the purchase orders, and the delivery notes that goods came under.
-- depends: 0001.scm

CREATE TABLE IF NOT EXISTS supply (
    sku      text PRIMARY KEY,
    supplier text NOT NULL
);

CREATE TABLE IF NOT EXISTS purchase_order (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id     text NOT NULL,         -- whose shortage it is for
    supplier     text NOT NULL,
    status       text NOT NULL DEFAULT 'RAISED'
        CHECK (status IN ('RAISED', 'CONFIRMED', 'PARTLY_RECEIVED', 'RECEIVED')),
    lines        jsonb NOT NULL,        -- of each article: ordered, and received so far
    raised_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    confirmed_at timestamptz,
    received_at  timestamptz,           -- the last of it
    UNIQUE (order_id, supplier)
);

CREATE INDEX IF NOT EXISTS purchase_order_supplier ON purchase_order (supplier, id);
CREATE INDEX IF NOT EXISTS purchase_order_open ON purchase_order (status, id) WHERE status <> 'RECEIVED';

CREATE TABLE IF NOT EXISTS receipt (
    purchase_order_id bigint NOT NULL REFERENCES purchase_order,
    delivery_note     text NOT NULL,
    lines             jsonb NOT NULL,
    received_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (purchase_order_id, delivery_note)
);

-- For the orders that were short before there was anybody to buy from.
INSERT INTO purchase_order (order_id, supplier, lines)
SELECT order_id, 'open-market',
       (SELECT jsonb_agg(line || '{"received": 0}') FROM jsonb_array_elements(shortages) AS line)
FROM fulfilment
WHERE status = 'SHORT'
  AND NOT EXISTS (SELECT FROM purchase_order WHERE purchase_order.order_id = fulfilment.order_id)
ORDER BY order_id;
