-- Orders.

CREATE TABLE IF NOT EXISTS orders (
    id               text PRIMARY KEY CHECK (id ~ '^[0-9]{20}$'),
    version          bigint NOT NULL,
    status           text NOT NULL,
    buyer            jsonb NOT NULL,
    delivery_address jsonb NOT NULL,
    order_lines      jsonb NOT NULL,
    total_price      bigint NOT NULL,
    memo             text,
    invoice_id       text,
    placed_at        timestamptz NOT NULL,
    completed_at     timestamptz
);
