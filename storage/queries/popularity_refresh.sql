-- name: decayed_counts
-- $1 event types, $2 their weights, $3 the rating that weighs most, $4 half-life in days, $5 end of the window in force, or
-- null to take the events' own wherever it is.
-- product_id, popularity in [0, 1], weighted_count, and on each row began and ended, the data window in seconds since
-- 1970. popularity = ln(1 + count) / ln(1 + largest count), 0 where nothing counts. Counts decay from the end of the
-- window, not from today; later events count whole. Events older than ten half-lives count nothing and are not read. A window
-- that would leave the one in force behind whole, by more than that, stays where it is: nothing is forgotten at one stroke.
with data_window as materialized (
    select ended, ended - make_interval(secs => 864000 * $4::double precision) as reach
    from (
        select case
            when event_window_end() > $5::timestamptz + make_interval(secs => 864000 * $4::double precision)
                then $5::timestamptz
            else event_window_end()
        end as ended
    ) as found
), counted as (
    select
        product_id,
        round(sum(event_weight(type, value, $1::text[], $2::text[]::double precision[], $3::double precision) * power(
            0.5::double precision,
            greatest(extract(epoch from (select ended from data_window) - occurred_at), 0)
                / 86400 / $4::double precision))::numeric, 6)::double precision as weighted_count,
        min(occurred_at) as began
    from events
    where occurred_at > (select reach from data_window) and type = any ($1::text[])
    group by product_id
)
select
    product_id,
    coalesce(ln(1 + weighted_count) / nullif(ln(1 + max(weighted_count) over ()), 0), 0)::real as popularity,
    weighted_count,
    extract(epoch from min(began) over ())::double precision as began,
    extract(epoch from (select ended from data_window))::double precision as ended
from counted
where exists (select from products where products.id = counted.product_id)
order by product_id;

-- name: popularity_state
-- version, half_life_days, window_end of the popularity in force, null before the first; beat_at, the newest heartbeat.
select version, half_life_days, window_end, (select beat_at from heartbeat where id = 1) as beat_at
from (select 1) as always
left join popularity_versions on active;

-- name: lock_popularity
-- Whoever writes popularity takes turns, until the end of the transaction.
select pg_advisory_xact_lock(hashtext('shortlist.popularity'));

-- name: begin_popularity
-- A table for the new counts, gone with the transaction.
create temporary table new_popularity (
    product_id text, popularity real, weighted_count double precision, began double precision, ended double precision
) on commit drop;

-- name: counted_popularity
-- products: how many have a count; window_end: the end of the data window.
select count(*) as products, to_timestamp(max(ended)) as window_end from new_popularity;

-- name: remove_forgotten_popularity
-- removed: how many products the new counts do not hold.
with removed as (
    delete from product_popularity
    where not exists (select from new_popularity where new_popularity.product_id = product_popularity.product_id)
    returning 1
)
select count(*) as removed from removed;

-- name: write_popularity
-- $1 version, $2 the least change of a popularity that counts as one. written: how many rows are new or changed; the
-- others stay as they are, and keep the version that wrote them.
with written as (
    insert into product_popularity (product_id, popularity, weighted_count, version)
    select product_id, new_popularity.popularity, new_popularity.weighted_count, $1::text
    from new_popularity left join product_popularity as stored using (product_id)
    where stored.popularity is null
        or abs(stored.popularity - new_popularity.popularity) > $2::double precision
        or $2::double precision = 0 and stored.weighted_count <> new_popularity.weighted_count
    order by product_id
    on conflict (product_id) do update
    set popularity = excluded.popularity, weighted_count = excluded.weighted_count, version = excluded.version
    returning 1
)
select count(*) as written from written;

-- name: deactivate_popularity
-- No version is active until the next statement of the transaction.
update popularity_versions set active = false where active;

-- name: activate_popularity
-- $1 version, $2 end of the data window, $3 half-life in days.
insert into popularity_versions (version, window_end, half_life_days, active)
values ($1::text, $2::timestamptz, $3::double precision, true)
on conflict (version) do update set active = true;

-- name: prune_popularity_versions
-- $1 how many to keep besides the active one, the newest.
delete from popularity_versions
where not active and version not in (
    select version from popularity_versions where not active order by created_at desc, version desc limit $1::integer
);
