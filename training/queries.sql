-- name: interactions
-- $1 event types, $2 their weights, $3 the rating that weighs most.
-- user_id, product_id, confidence, last_at in seconds since 1970: one row for each user and product with an event.
-- Weights add up over events, except that of several ratings of a product only the last one counts.
-- user_interactions in storage/queries says the same of one user.
with numbered as (
    select
        user_id, product_id, type, value, occurred_at,
        type = 'rating' and row_number() over (
            partition by user_id, product_id, type order by occurred_at desc, id desc) > 1 as superseded
    from events
    where type = any ($1::text[])
)
select
    user_id,
    product_id,
    round(sum(event_weight(type, value, $1::text[], $2::text[]::double precision[], $3::double precision))::numeric, 6)
        as confidence,
    extract(epoch from max(occurred_at))::double precision as last_at
from numbered
where not superseded and exists (select from products where products.id = numbered.product_id)
group by user_id, product_id
order by user_id, product_id;

-- name: user_event_counts
-- user_id, event_count: how many events of each user had been accepted, whether they count or not.
select id as user_id, event_count from users where event_count > 0 order by id;

-- name: event_window
-- began, ended: the times of the oldest event and of the newest that is not in the future; null without events.
select min(occurred_at) as began, max(occurred_at) as ended from events where occurred_at <= now();

-- name: product_count
-- count: how many products there are.
select count(*) as count from products;

-- name: unavailable_products
-- id: the products that are hidden or out of stock.
select id from products where hidden or not in_stock order by id;

-- name: product_ranges
-- $1 how many products make a range. id: the first product of each range, by id.
select id
from (select id, row_number() over (order by id) - 1 as number from products) as numbered
where number % $1::bigint = 0
order by id;

-- name: products_to_embed
-- $1 encoder version, $2 first id, $3 the id to end before, or null, $4 ids alone to look at, or null. Everything of a
-- product that product_text reads, attributes as JSON text; text_digest in hexadecimal, of the text that its vector was
-- made from, null where there is no vector or that is not known; updated_at in microseconds since 1970.
select
    products.id as product_id, title, description, category, brand, attributes::text as attributes,
    encode(product_embeddings.text_digest, 'hex') as text_digest,
    (extract(epoch from updated_at) * 1000000)::bigint as updated_at
from products
left join product_embeddings on product_embeddings.product_id = products.id and encoder_version = $1::text
where products.id >= $2::text
    and ($3::text is null or products.id < $3::text)
    and ($4::text[] is null or products.id = any ($4::text[]))
order by products.id;

-- name: products_to_learn
-- Everything of each product that product_text reads, attributes as JSON text.
select id as product_id, title, description, category, brand, attributes::text as attributes from products;

-- name: products_by_query
-- $1 event types, $2 days before the newest event with a request id, $3 hours within which an event follows an answer.
-- query in lower case, and the product as of products_to_learn, of each product that was followed up after a search that
-- showed it. Which answer an event belongs to is said in answers_followed_up.
with bound as (
    select max(occurred_at) - make_interval(days => $2::integer) as since
    from events
    where request_id is not null and occurred_at <= now() + interval '1 minute'
), followed as (
    select distinct lower(btrim(answer.query)) as query, events.product_id
    from bound
    join events on events.occurred_at >= bound.since
    cross join lateral (
        select query
        from impressions
        where impressions.request_id = events.request_id
            and events.product_id = any (impressions.product_ids)
            and (impressions.user_id is null or impressions.user_id = events.user_id)
            and impressions.shown_at between events.occurred_at - make_interval(hours => $3::integer)
                and events.occurred_at + interval '1 minute'
        order by shown_at desc
        limit 1
    ) as answer
    where events.request_id is not null and events.type = any ($1::text[]) and btrim(answer.query) <> ''
)
select query, id as product_id, title, description, category, brand, attributes::text as attributes
from followed
join products on products.id = followed.product_id;

-- name: embeddings_page
-- $1 encoder version, $2 the product id to begin after, $3 how many. product_id, text_digest, embedding, by product id.
select product_id, text_digest, embedding
from product_embeddings
where encoder_version = $1::text and product_id > $2::text
order by product_id
limit $3::integer;

-- name: embedded_page
-- As embeddings_page, without the vectors.
select product_id, text_digest
from product_embeddings
where encoder_version = $1::text and product_id > $2::text
order by product_id
limit $3::integer;

-- name: written_up_to
-- lsn: how far the primary's log reaches, as text.
select pg_current_wal_flush_lsn()::text as lsn;

-- name: has_reached
-- $1 a place in the primary's log. reached: whether what was written up to there is visible here.
select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() >= $1::text::pg_lsn else true end as reached;

-- name: keep_embeddings_out_of_the_feed
-- For the transaction: its vectors stand in the index that the run publishes.
set local shortlist.bulk_embeddings = 'on';

-- name: begin_embeddings
-- A table for one batch of vectors, gone with the transaction.
create temporary table new_embeddings (product_id text, embedding bytea, updated_at bigint, text_digest bytea)
on commit drop;

-- name: write_embeddings
-- $1 encoder version. Products that were deleted or changed since they were read are left out: what ingestion wrote
-- for them is newer.
insert into product_embeddings (product_id, encoder_version, embedding, text_digest)
select id, $1::text, embedding, text_digest
from (
    select products.id, new_embeddings.embedding, new_embeddings.text_digest
    from new_embeddings join products on products.id = new_embeddings.product_id
    where (extract(epoch from products.updated_at) * 1000000)::bigint = new_embeddings.updated_at
    order by products.id
    for key share of products
) as unchanged
on conflict (product_id, encoder_version) do update
set embedding = excluded.embedding, text_digest = excluded.text_digest
where (product_embeddings.embedding, product_embeddings.text_digest)
    is distinct from (excluded.embedding, excluded.text_digest);

-- name: snapshot_moment
-- taken_at, the time of the transaction; heartbeat_at, the newest heartbeat visible, or null; window_end, as
-- event_window_end has it; began, ended as event_window has them.
select
    now() as taken_at, (select beat_at from heartbeat where id = 1) as heartbeat_at, event_window_end() as window_end,
    began, ended
from (select min(occurred_at) as began, max(occurred_at) as ended from events where occurred_at <= now()) as span;

-- name: snapshot_products
-- Every product by id, but for its search vector; times in microseconds since 1970, booleans as words.
select
    id, title, description, category, brand, nullif(price, 'NaN') as price, currency, in_stock::text as in_stock, hidden::text as hidden,
    image_url, attributes::text as attributes,
    (extract(epoch from created_at) * 1000000)::bigint as created_at,
    (extract(epoch from updated_at) * 1000000)::bigint as updated_at
from products
order by id;

-- name: snapshot_event_parts
-- $1 month or day. first_moment, end_moment (without it): each such part of time, in UTC, that holds events; oldest first.
select
    first as first_moment,
    ((first at time zone 'UTC') + ('1 ' || $1::text)::interval) at time zone 'UTC' as end_moment
from (select distinct date_trunc($1::text, occurred_at, 'UTC') as first from events) as parts
order by first;

-- name: snapshot_events
-- $1 first moment, $2 the moment to end before. Every event of that time by time, then id; times in microseconds since 1970.
select
    id, user_id, product_id, type, value, (extract(epoch from occurred_at) * 1000000)::bigint as occurred_at,
    request_id, (extract(epoch from received_at) * 1000000)::bigint as received_at
from events
where occurred_at >= $1::timestamptz and occurred_at < $2::timestamptz
order by occurred_at, id;

-- name: answers_followed_up
-- $1 event types, $2 days before the newest event with a request id, $3 hours within which an event follows an answer,
-- $4 most answers: of more, those whose request ids hash lowest, the same ones each time, from all of the days.
-- One row for each product that an answer showed, of the answers that an event followed: what evaluation.logged_answers
-- calls COLUMNS. An event belongs to the latest answer of its request id that showed its product to its user, or to
-- nobody, before it; a minute is forgiven between the clocks. Answers of which not every feature is known are left out.
with bound as (
    select max(occurred_at) - make_interval(days => $2::integer) as since
    from events
    where request_id is not null and occurred_at <= now() + interval '1 minute'
), followed as (
    select answer.request_id, answer.shown_at, array_agg(distinct events.product_id) as clicked
    from bound
    join events on events.occurred_at >= bound.since
    cross join lateral (
        select request_id, shown_at
        from impressions
        where impressions.request_id = events.request_id
            and events.product_id = any (impressions.product_ids)
            and (impressions.user_id is null or impressions.user_id = events.user_id)
            and impressions.shown_at between events.occurred_at - make_interval(hours => $3::integer)
                and events.occurred_at + interval '1 minute'
        order by shown_at desc
        limit 1
    ) as answer
    where events.request_id is not null and events.type = any ($1::text[])
    group by answer.request_id, answer.shown_at
    order by md5(answer.request_id), answer.shown_at
    limit $4::bigint
)
select
    impressions.request_id,
    extract(epoch from impressions.shown_at)::double precision as shown_at,
    impressions.kind,
    impressions.user_id,
    shown.product_id,
    shown.rank::bigint as rank,
    products.category,
    (shown.features ->> 'search')::double precision as search,
    (shown.features ->> 'cf')::double precision as cf,
    (shown.features ->> 'popularity')::double precision as popularity,
    (shown.features ->> 'freshness')::double precision as freshness,
    shown.product_id = any (followed.clicked) as clicked
from followed
join impressions using (request_id, shown_at)
cross join lateral (
    select product_id, rank, impressions.features -> (place::integer - 1) as features
    from unnest(impressions.product_ids, impressions.ranks) with ordinality as placed (product_id, rank, place)
) as shown
left join products on products.id = shown.product_id
where jsonb_array_length(impressions.features) = cardinality(impressions.product_ids)
    and impressions.features -> 0 ?& array['search', 'cf', 'popularity', 'freshness']
order by impressions.shown_at, impressions.request_id, shown.rank;
