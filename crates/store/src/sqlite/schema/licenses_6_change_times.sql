-- When a change was made, so that gates can tell how long it took to reach them, and one history from another.

ALTER TABLE changes ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
