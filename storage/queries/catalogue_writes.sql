-- name: upsert_products
-- $1 ids, each once, and arrays of the same length for the other columns; attributes as JSON text. created_at and hidden
-- that are null stay as they are, known from rows that are locked, so that a write that is being committed beside counts.
-- id of each product that really changed.
with known as materialized (
    select id, hidden, created_at from products where id = any ($1::text[]) order by id for no key update
)
insert into products as stored
    (id, title, description, category, brand, price, currency, in_stock, hidden, image_url, created_at, attributes)
select incoming.id, incoming.title, incoming.description, incoming.category, incoming.brand, incoming.price,
    incoming.currency, incoming.in_stock, coalesce(incoming.hidden, known.hidden, false), incoming.image_url,
    coalesce(incoming.created_at, known.created_at, now()), incoming.attributes::jsonb
from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::text[], $8::boolean[],
    $9::boolean[], $10::text[], $11::timestamptz[], $12::text[]
) as incoming
    (id, title, description, category, brand, price, currency, in_stock, hidden, image_url, created_at, attributes)
left join known on known.id = incoming.id
order by incoming.id
on conflict (id) do update set
    (title, description, category, brand, price, currency, in_stock, hidden, image_url, created_at, attributes) =
    (excluded.title, excluded.description, excluded.category, excluded.brand, excluded.price, excluded.currency,
        excluded.in_stock, excluded.hidden, excluded.image_url, excluded.created_at, excluded.attributes)
where (stored.title, stored.description, stored.category, stored.brand, stored.price, stored.currency,
        stored.in_stock, stored.hidden, stored.image_url, stored.created_at, stored.attributes)
    is distinct from
    (excluded.title, excluded.description, excluded.category, excluded.brand, excluded.price, excluded.currency,
        excluded.in_stock, excluded.hidden, excluded.image_url, excluded.created_at, excluded.attributes)
returning id;

-- name: delete_product
-- $1 id. The id, if there was such a product.
delete from products where id = $1::text returning id;

-- name: insert_events
-- $1 event ids and arrays of the same length for the other columns. accepted: how many were not there before. Of equal
-- ids the first wins. Users are made on first sight, and their events are counted. Ids and users are locked in the order
-- of their names, so that batches that run side by side wait for each other and never in a circle.
with incoming as materialized (
    select * from unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::double precision[], $6::timestamptz[], $7::text[]
    ) with ordinality as incoming (id, user_id, product_id, type, value, occurred_at, request_id, number)
), fresh as (
    insert into event_ids (id) select distinct id from incoming order by id on conflict do nothing returning id
), accepted as (
    select distinct on (id) incoming.* from incoming join fresh using (id) order by id, number
), met as (
    insert into users as known (id, event_count)
    select user_id, count(*) from accepted group by user_id order by user_id
    on conflict (id) do update set event_count = known.event_count + excluded.event_count
), inserted as (
    insert into events (id, user_id, product_id, type, value, occurred_at, request_id)
    select id, user_id, product_id, type, value, occurred_at, request_id from accepted
)
select count(*) as accepted from accepted;

-- name: limit_statements
-- $1 milliseconds. For the transaction: the server itself ends a statement that takes longer.
select set_config('statement_timeout', $1::integer || 'ms', true);

-- name: lock_impressions
-- $1 request ids. Until the transaction ends whoever writes impressions of these waits: one that was given up and is still
-- being committed is not seen yet. In one order, so that writers never wait in a circle.
select pg_advisory_xact_lock(key)
from (
    select distinct hashtextextended('shortlist.impression ' || id, 0) as key from unnest($1::text[]) as id order by key
) as keys;

-- name: insert_impression
-- $1 request id, $2 time shown, $3 kind, $4 user id, $5 query, $6 product ids, $7 ranks, $8 scores, $9 features and
-- $10 versions as JSON text. Not again what is there: the same request at the same time, since clients may give several
-- requests one id.
insert into impressions
    (request_id, shown_at, kind, user_id, query, product_ids, ranks, scores, features, versions)
select $1::text, $2::timestamptz, $3::text, $4::text, $5::text, $6::text[], $7::integer[], $8::double precision[],
    $9::text::jsonb, $10::text::jsonb
where not exists (select from impressions where request_id = $1::text and shown_at = $2::timestamptz);
