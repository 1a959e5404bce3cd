-- name: user_history
-- $1 user id, $2 limit. product_id, type, value, occurred_at of the user's events, most recent first.
select product_id, type, value, occurred_at
from events
where user_id = $1::text
order by occurred_at desc, product_id, type
limit $2::integer;

-- name: user_interactions
-- $1 user id, $2 event types, $3 their weights, $4 the rating that weighs most, $5 most events to look at, the latest,
-- $6 a number of events or null, $7 whether owned products are asked for.
-- product_id, confidence, owned, event_count: one row a product, or one without a product. event_count is how many events
-- of the user were ever accepted, null for a user nobody has seen; where it is $6, confidences are left out. Confidences
-- are those of the query interactions in training: weights add up, of several ratings only the last one counts. owned:
-- the user bought or rated it, however long ago; such a product may have no confidence.
with known as materialized (
    select
        (select event_count from users where id = $1::text) as event_count,
        $3::text[]::double precision[] as weights
), recent as materialized (
    select id, product_id, type, value, occurred_at
    from events
    where user_id = $1::text and (select event_count is distinct from $6::bigint from known)
    order by occurred_at desc, id desc
    limit $5::integer
), numbered as (
    select
        product_id, type, value,
        type = 'rating' and row_number() over (
            partition by product_id, type order by occurred_at desc, id desc) > 1 as superseded
    from recent
    where type = any ($2::text[])
), weighed as (
    select
        product_id,
        round(sum(event_weight(
            type, value, $2::text[], (select weights from known), $4::double precision))::numeric, 6)
            ::double precision as confidence
    from numbered
    where not superseded and exists (select from products where products.id = numbered.product_id)
    group by product_id
), bought_or_rated as (
    select distinct product_id, true as owned
    from events
    where $7::boolean and user_id = $1::text and type in ('purchase', 'rating')
)
select found.product_id, found.confidence, coalesce(found.owned, false) as owned, known.event_count
from known
left join (
    select product_id, weighed.confidence, bought_or_rated.owned
    from weighed full join bought_or_rated using (product_id)
) as found on true;

-- name: user_exists
-- $1 user id. user_exists: whether the user has ever been seen.
select exists (select from users where id = $1::text) as user_exists;

-- name: user_event_count
-- $1 user id. event_count: how many events of the user were ever accepted; no row for a user nobody knows.
select event_count from users where id = $1::text;

-- name: sample_users
-- $1 limit. user_id: those with most events among the first thousand users by id, equal numbers by id.
select first_users.id as user_id
from (select id from users order by id limit 1000) as first_users
cross join lateral (select count(*) as number from events where events.user_id = first_users.id) as counted
order by counted.number desc, first_users.id
limit $1::integer;
