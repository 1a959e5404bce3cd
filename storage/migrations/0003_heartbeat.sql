-- The row by which the lag of a read replica is measured: written on the primary each second, read on the replica.
create table heartbeat (
    id integer primary key check (id = 1),
    beat_at timestamptz not null
) with (fillfactor = 50);

insert into heartbeat (id, beat_at) values (1, clock_timestamp());
