DROP TABLE receipt, purchase_order, supply;
