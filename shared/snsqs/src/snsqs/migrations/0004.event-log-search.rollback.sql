DROP INDEX event_log_type, event_log_decision, event_log_occurred;
