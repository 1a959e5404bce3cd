-- name: make_months_ahead
-- $1 months beyond the present one. made: how many partitions of events were missing and are there now.
select ensure_event_partitions(now(), now() + make_interval(months => $1::integer)) as made;

-- name: old_event_months
-- $1 age in months. month: the first moment (UTC) of each month whose events are all older than that and that is attached,
-- or of which the default partition holds events; oldest first.
select month
from (
    select to_date(right(relname, 7), 'YYYY_MM')::timestamp at time zone 'UTC' as month
    from pg_inherits join pg_class on pg_class.oid = inhrelid
    where inhparent = 'events'::regclass and relname ~ '^events_\d{4}_\d{2}$'
    union
    select date_trunc('month', occurred_at, 'UTC') from events_default
) as months
where month < date_trunc('month', (now() at time zone 'UTC') - make_interval(months => $1::integer)) at time zone 'UTC'
order by month;

-- name: set_lock_timeout
-- $1 milliseconds. For the transaction: a lock that is not to be had that soon is given up, and nobody queues behind it.
select set_config('lock_timeout', $1::integer || 'ms', true);

-- name: detach_event_month
-- $1 any moment of the month. name of its table, detached: whether it was part of events until now, moved: how many rows
-- came out of the default partition.
select event_partition_name($1::timestamptz) as name, detached, moved from detach_event_partition($1::timestamptz);
