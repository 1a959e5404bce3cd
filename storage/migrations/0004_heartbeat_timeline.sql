-- The primary's timeline at the newest beat: a promotion starts another, on which positions in the write-ahead log
-- and transaction numbers may have been used before.
alter table heartbeat add column timeline bigint not null default 0;
