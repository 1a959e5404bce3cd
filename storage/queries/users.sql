-- name: user_history
-- $1 user id, $2 limit. product_id, type, value, occurred_at of the user's events, most recent first.
select product_id, type, value, occurred_at
from events
where user_id = $1::text
order by occurred_at desc, product_id, type
limit $2::integer;

-- name: user_bought_or_rated
-- $1 user id. product_id of everything the user bought or rated, once each, in no order.
select distinct product_id
from events
where user_id = $1::text and type in ('purchase', 'rating');

-- name: user_exists
-- $1 user id. user_exists: whether the user has ever been seen.
select exists (select from users where id = $1::text) as user_exists;

-- name: sample_users
-- $1 limit. user_id: those with most events among the first thousand users by id, equal numbers by id.
select first_users.id as user_id
from (select id from users order by id limit 1000) as first_users
cross join lateral (select count(*) as number from events where events.user_id = first_users.id) as counted
order by counted.number desc, first_users.id
limit $1::integer;
