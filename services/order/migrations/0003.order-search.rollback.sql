DROP INDEX orders_status, orders_buyer_name, orders_buyer_phone;
