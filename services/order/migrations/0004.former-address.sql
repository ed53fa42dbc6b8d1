-- Where an order was to go before, until the version that had another address.
-- depends: 0001.orders

CREATE TABLE IF NOT EXISTS former_address (
    order_id         text NOT NULL REFERENCES orders,
    until_version    bigint NOT NULL,
    delivery_address jsonb NOT NULL,
    PRIMARY KEY (order_id, until_version)
);
