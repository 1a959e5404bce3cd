-- name: changed_products
-- $1 transaction and $2 position of the first change to return, $3 transactions to leave out, $4 most changes, $5
-- version of an encoder. The changes from there on, in the order of the feed, those of transactions beyond an open one
-- included, each with its product as it is now: product_id, stored (whether it exists), category, price (in
-- ten-thousandths), in_stock, hidden, revision (updated_at, microseconds since 1970), embedding (for that encoder; null
-- where there is none). open_from: the oldest transaction that may still be open, below which no change can appear any
-- more; seen_to: the first one that this read cannot see; read_to: how far the server that answers has come in the
-- write-ahead log, in bytes. timeline: the primary's, null where unknown. One row with a null transaction where nothing
-- changed.
with bound as materialized (
    select
        pg_snapshot_xmin(pg_current_snapshot())::text::bigint as open_from,
        pg_snapshot_xmax(pg_current_snapshot())::text::bigint as seen_to,
        coalesce(
            (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end - '0/0')::bigint,
            0
        ) as read_to,
        (select nullif(timeline, 0) from heartbeat where id = 1) as timeline
), page as materialized (
    select transaction, position, product_id
    from product_changes
    where (transaction, position) >= ($1::text::xid8, $2::bigint)
        and transaction not in (select unnest($3::text[])::xid8)
    order by transaction, position
    limit $4::integer
)
select
    bound.open_from,
    bound.seen_to,
    bound.read_to,
    bound.timeline,
    page.transaction::text::bigint as transaction,
    page.position,
    page.product_id,
    product.id is not null as stored,
    product.category,
    (product.price * 10000)::bigint as price,
    product.in_stock,
    product.hidden,
    (extract(epoch from product.updated_at) * 1000000)::bigint as revision,
    embedded.embedding
from bound
left join page on true
left join lateral (
    select id, category, price, in_stock, hidden, updated_at from products where id = page.product_id limit 1
) as product on true
left join lateral (
    select embedding from product_embeddings where product_id = product.id and encoder_version = $5::text limit 1
) as embedded on true
order by page.transaction, page.position;

-- name: product_attributes
-- $1 id after which to read, $2 most products. One row of arrays in the order of the ids: ids, categories, prices (in
-- ten-thousandths), in_stock, hidden, revisions (updated_at, microseconds since 1970); null where there are no more.
-- position: as in catalogue_position, of the same snapshot.
select
    array_agg(id order by id) as ids,
    array_agg(category order by id) as categories,
    array_agg((price * 10000)::bigint order by id) as prices,
    array_agg(in_stock order by id) as in_stock,
    array_agg(hidden order by id) as hidden,
    array_agg((extract(epoch from updated_at) * 1000000)::bigint order by id) as revisions,
    coalesce((
        select transaction::text || '-' || position::text
        from product_changes
        where transaction < pg_snapshot_xmin(pg_current_snapshot())
        order by product_changes.transaction desc, product_changes.position desc
        limit 1
    ), '0-0') as position
from (
    select id, category, price, in_stock, hidden, updated_at
    from products
    where id > $1::text
    order by id
    limit $2::integer
) as page;
