-- Stock, reservations, invoices, and SCM's side of each order.

CREATE TABLE IF NOT EXISTS stock (
    sku      text PRIMARY KEY,
    on_hand  bigint NOT NULL CHECK (on_hand >= 0),
    reserved bigint NOT NULL DEFAULT 0,
    CHECK (reserved BETWEEN 0 AND on_hand)
);

CREATE TABLE IF NOT EXISTS reservation (
    order_id text NOT NULL,
    sku      text NOT NULL REFERENCES stock,
    quantity bigint NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, sku)
);

CREATE TABLE IF NOT EXISTS invoice (
    id               uuid PRIMARY KEY,
    order_id         text NOT NULL UNIQUE,
    delivery_address jsonb NOT NULL,
    issued_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE IF NOT EXISTS fulfilment (
    order_id   text PRIMARY KEY,
    version    bigint NOT NULL,
    status     text NOT NULL,
    lines      jsonb NOT NULL,
    shortages  jsonb NOT NULL,
    invoice_id text
);
