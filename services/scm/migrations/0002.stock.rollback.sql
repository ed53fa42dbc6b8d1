DROP TABLE waiting_line, waiting_order, stock_movement;
DROP INDEX reservation_open;
ALTER TABLE reservation DROP COLUMN status;
