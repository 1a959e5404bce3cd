-- name: make_incoming_products
-- The table of this session that a file of products is copied into; number is the place in the file.
create temporary table incoming_products (
    number bigint primary key, id text, title text, description text, category text, brand text,
    price numeric(14, 4), currency text, in_stock boolean, hidden boolean, image_url text, created_at timestamptz,
    attributes text
);

-- name: drop_superseded_products
-- Of equal ids in the file the last stays.
delete from incoming_products as earlier
using (select id, max(number) as number from incoming_products group by id having count(*) > 1) as last
where earlier.id = last.id and earlier.number < last.number;

-- name: merge_incoming_products
-- $1 first and $2 last place in the file. As upsert_products: merged counts the rows, changed those that really changed.
with incoming as materialized (
    select * from incoming_products where number between $1::bigint and $2::bigint
), known as materialized (
    select id, hidden, created_at from products where id in (select id from incoming) order by id for no key update
), changed as (
    insert into products as stored
        (id, title, description, category, brand, price, currency, in_stock, hidden, image_url, created_at, attributes)
    select incoming.id, incoming.title, incoming.description, incoming.category, incoming.brand, incoming.price,
        incoming.currency, incoming.in_stock, coalesce(incoming.hidden, known.hidden, false), incoming.image_url,
        coalesce(incoming.created_at, known.created_at, now()), incoming.attributes::jsonb
    from incoming
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
    returning id
)
select (select count(*) from incoming) as merged, (select count(*) from changed) as changed;

-- name: gather_text_entries
-- From now on entries of the text indexes wait in lists, from which they are entered many at a time.
do $$ begin
    alter index products_search_vector set (fastupdate = on);
    alter index keyword_head_first set (fastupdate = on);
    alter index keyword_head_second set (fastupdate = on);
end $$;

-- name: enter_text_at_once
-- From now on each product enters the text indexes with its own statement, and searches have no list to read.
do $$ begin
    alter index products_search_vector set (fastupdate = off);
    alter index keyword_head_first set (fastupdate = off);
    alter index keyword_head_second set (fastupdate = off);
end $$;

-- name: enter_gathered_text
-- Enters what waits in the lists.
select gin_clean_pending_list(name::regclass)
from unnest(array['products_search_vector', 'keyword_head_first', 'keyword_head_second']) as indexes (name);

-- name: make_incoming_events
-- The table of this session that a batch of a file of events is copied into; number is the place in the batch.
create temporary table incoming_events (
    number bigint, id text, user_id text, product_id text, type text, value double precision,
    occurred_at timestamptz, request_id text
);

-- name: merge_incoming_events
-- As insert_events, of the batch copied last.
with fresh as (
    insert into event_ids (id) select distinct id from incoming_events order by id on conflict do nothing returning id
), accepted as materialized (
    select distinct on (id) incoming_events.* from incoming_events join fresh using (id) order by id, number
), met as (
    insert into users as known (id, event_count)
    select user_id, count(*) from accepted group by user_id order by user_id
    on conflict (id) do update set event_count = known.event_count + excluded.event_count
), inserted as (
    insert into events (id, user_id, product_id, type, value, occurred_at, request_id)
    select id, user_id, product_id, type, value, occurred_at, request_id from accepted order by number
)
select count(*) as accepted from accepted;

-- name: empty_incoming_events
-- Makes room for the next batch.
truncate incoming_events;

-- name: ensure_event_partitions
-- $1 any moment of each month. Makes the partitions of events that are missing.
select ensure_event_partition(month) from unnest($1::timestamptz[]) as month order by month;

-- name: make_incoming_users
-- The table of this session that a batch of a file of users is copied into.
create temporary table incoming_users (number bigint, id text, attributes text);

-- name: merge_incoming_users
-- Users of the batch copied last; of equal ids the last wins. id of each that is new or really changed.
insert into users as stored (id, attributes)
select distinct on (id) id, attributes::jsonb from incoming_users order by id, number desc
on conflict (id) do update set attributes = excluded.attributes
where stored.attributes is distinct from excluded.attributes
returning id;

-- name: empty_incoming_users
-- Makes room for the next batch.
truncate incoming_users;
