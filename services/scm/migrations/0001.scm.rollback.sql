DROP TABLE fulfilment, invoice, reservation, stock;
