-- name: decayed_counts
-- $1 event types, $2 their weights, $3 the rating that weighs most, $4 half-life in days.
-- product_id, weighted_count, and the data window on each row. A rating weighs (value / $3) squared times its type's
-- weight; one without a value counts as a view. Counts decay from the end of the window: the time that all but one in a
-- thousand events precede, so that a stray late one (a test, a wrong clock) does not age all others. Later ones count whole.
with weights as materialized (
    select type, weight from unnest($1::text[], $2::double precision[]) as given (type, weight)
), data_window as materialized (
    select min(occurred_at) as began, percentile_disc(0.999) within group (order by occurred_at)
        filter (where occurred_at <= now()) as ended
    from events
), weighed as (
    select
        product_id,
        occurred_at,
        case
            when type = 'rating' and value is not null
                then weight * power(least(greatest(value, 0), $3::double precision) / $3::double precision, 2)
            when type = 'rating' then (select weight from weights where type = 'view')
            else weight
        end as weight
    from events join weights using (type)
)
select
    product_id,
    round(sum(weight * power(
        0.5::double precision,
        greatest(extract(epoch from ended - occurred_at), 0) / 86400 / $4::double precision))::numeric, 6)
        as weighted_count,
    extract(epoch from began)::double precision as began,
    extract(epoch from ended)::double precision as ended
from weighed cross join data_window
where exists (select from products where products.id = weighed.product_id) and ended is not null
group by product_id, began, ended
order by product_id;

-- name: interactions
-- $1 event types, $2 their weights, $3 the rating that weighs most.
-- user_id, product_id, confidence, last_at in seconds since 1970: one row for each user and product with an event.
-- Weights add up over events, except that of several ratings of a product only the last one counts.
with weights as materialized (
    select type, weight from unnest($1::text[], $2::double precision[]) as given (type, weight)
), numbered as (
    select
        user_id, product_id, type, value, occurred_at, weight,
        type = 'rating' and row_number() over (
            partition by user_id, product_id, type order by occurred_at desc, id desc) > 1 as superseded
    from events join weights using (type)
)
select
    user_id,
    product_id,
    round(sum(case
        when type = 'rating' and value is not null
            then weight * power(least(greatest(value, 0), $3::double precision) / $3::double precision, 2)
        when type = 'rating' then (select weight from weights where type = 'view')
        else weight
    end)::numeric, 6) as confidence,
    extract(epoch from max(occurred_at))::double precision as last_at
from numbered
where not superseded and exists (select from products where products.id = numbered.product_id)
group by user_id, product_id
order by user_id, product_id;

-- name: event_window
-- began, ended: the times of the oldest event and of the newest that is not in the future; null without events.
select min(occurred_at) as began, max(occurred_at) as ended from events where occurred_at <= now();

-- name: products_to_embed
-- Everything of a product that product_text reads, attributes as JSON text; updated_at in microseconds since 1970.
select
    id as product_id, title, description, category, brand, attributes::text as attributes,
    (extract(epoch from updated_at) * 1000000)::bigint as updated_at
from products
order by id;

-- name: begin_popularity
-- A table for the new counts, gone with the transaction.
create temporary table new_popularity (product_id text, popularity real, weighted_count double precision)
on commit drop;

-- name: remove_forgotten_popularity
-- Products that the new version does not hold.
delete from product_popularity
where not exists (select from new_popularity where new_popularity.product_id = product_popularity.product_id);

-- name: write_popularity
-- $1 version.
insert into product_popularity (product_id, popularity, weighted_count, version)
select product_id, popularity, weighted_count, $1::text from new_popularity
on conflict (product_id) do update
set popularity = excluded.popularity, weighted_count = excluded.weighted_count, version = excluded.version;

-- name: deactivate_popularity
-- No version is active until the next statement of the transaction.
update popularity_versions set active = false where active;

-- name: activate_popularity
-- $1 version, $2 end of the data window, $3 half-life in days.
insert into popularity_versions (version, window_end, half_life_days, active)
values ($1::text, $2::timestamptz, $3::double precision, true)
on conflict (version) do update set active = true;

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
