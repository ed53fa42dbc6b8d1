DROP TABLE audit, operation;
