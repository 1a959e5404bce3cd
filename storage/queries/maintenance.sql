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

-- name: forget_newest_changes
-- Removes the session's table of newest changes, if there is one.
drop table if exists pg_temp.newest_changes;

-- name: find_newest_changes
-- A table of this session: of each product the newest change of its content, and the newest of its embeddings, that no
-- change still to appear can precede.
create temporary table newest_changes as
select distinct on (product_id, operation = 'embed')
    product_id, operation = 'embed' as embed, transaction, position
from product_changes
where transaction < pg_snapshot_xmin(pg_current_snapshot())
order by product_id, operation = 'embed', transaction desc, position desc;

-- name: remove_superseded_changes
-- $1 transaction and $2 position to begin after, $3 hours, $4 most to remove. removed: how many changes older than so many
-- hours were removed because a newer one of the same kind and product is known; transaction and position of the last.
with superseded as materialized (
    select product_changes.transaction, product_changes.position
    from product_changes
    join newest_changes as newest
        on newest.product_id = product_changes.product_id and newest.embed = (product_changes.operation = 'embed')
    where (product_changes.transaction, product_changes.position) > ($1::text::xid8, $2::bigint)
        and (product_changes.transaction, product_changes.position) < (newest.transaction, newest.position)
        and product_changes.changed_at < now() - make_interval(hours => $3::integer)
    order by product_changes.transaction, product_changes.position
    limit $4::integer
), removed as (
    delete from product_changes using superseded
    where product_changes.transaction = superseded.transaction and product_changes.position = superseded.position
    returning 1
)
select (select count(*) from removed) as removed, last.transaction::text as transaction, last.position
from (select 1) as always
left join (select * from superseded order by transaction desc, position desc limit 1) as last on true;

-- name: lead_maintenance
-- leading: whether this session, until its end, is the one that does the upkeep.
select pg_try_advisory_lock(hashtext('shortlist.maintenance')) as leading;

-- name: maintenance_runs
-- name, started_at, age_s, seconds, error, outcome of the last run of each task.
select
    name, started_at, extract(epoch from clock_timestamp() - started_at)::double precision as age_s, seconds, error,
    outcome::text as outcome
from maintenance_tasks
order by name;

-- name: record_maintenance_run
-- $1 task, $2 seconds it took until now, $3 error or null, $4 outcome as JSON text.
insert into maintenance_tasks (name, started_at, seconds, error, outcome)
values ($1::text, clock_timestamp() - make_interval(secs => $2), $2::double precision, $3::text, $4::text::jsonb)
on conflict (name) do update
set started_at = excluded.started_at, seconds = excluded.seconds, error = excluded.error, outcome = excluded.outcome;
