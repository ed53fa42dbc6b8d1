DROP TABLE paused_listener;
