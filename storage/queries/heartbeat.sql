-- name: beat
-- Moves the heartbeat unless another process did so within the last 0.9 seconds; at once on a new timeline, and where
-- the last beat lies ahead of the clock.
update heartbeat
set beat_at = clock_timestamp(), timeline = current.timeline
from (
    select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint as timeline
) as current
where id = 1
    and (
        beat_at < clock_timestamp() - interval '0.9 seconds'
        or beat_at > clock_timestamp() + interval '2 seconds'
        or heartbeat.timeline <> current.timeline
    );

-- name: last_beat
-- beat_at and timeline, the newest heartbeat this server has seen; in_recovery, whether it follows a primary; position,
-- up to where (in bytes of the write-ahead log) its reads see everything that was committed.
select
    beat_at,
    case
        when pg_is_in_recovery() then timeline
        else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
    end as timeline,
    pg_is_in_recovery() as in_recovery,
    (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end - '0/0')::bigint
        as position
from heartbeat
where id = 1;

-- name: consistency_token
-- timeline and position (bytes of the write-ahead log): what covers everything that was committed on this primary.
select
    ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint as timeline,
    (pg_current_wal_flush_lsn() - '0/0')::bigint as position;

-- name: usable_connections
-- usable, how many connections this server has for us: all but those it keeps for its administrators.
select
    current_setting('max_connections')::integer
    - current_setting('superuser_reserved_connections')::integer
    - coalesce(current_setting('reserved_connections', true), '0')::integer as usable;

-- name: primary_timeline
-- timeline, that of the primary asked; an error on a server in recovery.
select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint as timeline;
