-- Pages of orders, newest first: an id is the time of placing, so each index is in the order of its page.
-- The first page of a filter and its last one cost the same.
-- depends: 0001.orders

CREATE INDEX IF NOT EXISTS orders_status ON orders (status, id);
CREATE INDEX IF NOT EXISTS orders_buyer_name ON orders ((buyer ->> 'name'), id);
CREATE INDEX IF NOT EXISTS orders_buyer_phone ON orders ((buyer ->> 'phoneNumber'), id);
