-- When a change was made, so that gates can tell how long it took to reach them, and one history from another. Gates of the
-- version before do not name the column: its default is the time for them, and one that never was for what is there.

ALTER TABLE changes ADD COLUMN at bigint NOT NULL DEFAULT 0;
ALTER TABLE changes ALTER COLUMN at SET DEFAULT micros_now();
