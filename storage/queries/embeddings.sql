-- name: embedding_start
-- $1 version of an encoder, $2 position of the feed that an artifact of it was made at, or null. start: after which
-- change to begin: where embedding stopped, else the artifact's position, else "0-0". Positions that this database never
-- gave out (it was restored from a dump, the artifact comes from elsewhere) do not count.
select coalesce(
    (
        select transaction::text || '-' || position
        from embedding_cursors
        where encoder_version = $1::text and transaction < pg_snapshot_xmax(pg_current_snapshot())
    ),
    case when split_part($2::text, '-', 1)::xid8 < pg_snapshot_xmax(pg_current_snapshot()) then $2::text end,
    '0-0'
) as start;

-- name: move_embedding_cursor
-- $1 version of an encoder, $2 transaction and $3 position of the last change that needs not be looked at again.
insert into embedding_cursors (encoder_version, transaction, position)
values ($1::text, $2::text::xid8, $3::bigint)
on conflict (encoder_version) do update
set transaction = excluded.transaction, position = excluded.position, moved_at = excluded.moved_at;

-- name: changes_to_embed
-- $1 to $4 and open_from, seen_to, read_to, timeline, transaction, position, product_id as in changed_products, $5 version of an
-- encoder. Of a product that was written and still exists also what its text is made of: title, description, category,
-- brand, attributes as JSON text, and text_digest of what was embedded of it last; null of other changes.
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
    select transaction, position, product_id, operation
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
    product.title,
    product.description,
    product.category,
    product.brand,
    product.attributes,
    embedded.text_digest
from bound
left join page on true
left join lateral (
    select id, title, description, category, brand, attributes::text as attributes
    from products
    where page.operation = 'upsert' and id = page.product_id
    limit 1
) as product on true
left join lateral (
    select text_digest from product_embeddings where product_id = product.id and encoder_version = $5::text limit 1
) as embedded on true
order by page.transaction, page.position;

-- name: feed_before_newest
-- $1 how many changes. position: the one after which that many of those visible now follow, "0-0" where there are fewer.
select coalesce((
    select transaction::text || '-' || position::text
    from product_changes
    order by product_changes.transaction desc, product_changes.position desc
    offset $1::integer
    limit 1
), '0-0') as position;

-- name: write_embeddings
-- $1 version of an encoder, $2 product ids, each once, and arrays of the same length: $3 titles, $4 descriptions, $5
-- categories, $6 brands and $7 attributes (JSON text) that the vectors were made from, $8 vectors, $9 digests of the
-- texts. Products that are gone, or read otherwise by now, are left out. product_id of each vector that is new.
insert into product_embeddings (product_id, encoder_version, embedding, text_digest)
select id, $1::text, embedding, text_digest
from (
    select products.id, incoming.embedding, incoming.text_digest
    from unnest(
        $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::bytea[]
    ) as incoming (id, title, description, category, brand, attributes, embedding, text_digest)
    join products on products.id = incoming.id
    where (products.title, products.description, products.category, products.brand, products.attributes)
        is not distinct from
        (incoming.title, incoming.description, incoming.category, incoming.brand, incoming.attributes::jsonb)
    order by products.id
    for key share of products
) as unchanged
on conflict (product_id, encoder_version) do update
set embedding = excluded.embedding, text_digest = excluded.text_digest
where (product_embeddings.embedding, product_embeddings.text_digest)
    is distinct from (excluded.embedding, excluded.text_digest)
returning product_id;

-- name: embedding_backlog
-- $1 version of an encoder. waiting: the writes of products after its cursor, at most 10,001; oldest_s: seconds since the
-- first of them, 0 without any. Writes beyond a transaction that is still open count until it ends, embedded or not. No
-- row where there is no cursor yet.
select waiting, oldest_s
from embedding_cursors
cross join lateral (
    select
        count(*)::integer as waiting,
        coalesce(extract(epoch from clock_timestamp() - min(changed_at)), 0)::double precision as oldest_s
    from (
        select changed_at
        from product_changes
        where (product_changes.transaction, product_changes.position)
                > (embedding_cursors.transaction, embedding_cursors.position)
            and operation = 'upsert'
        order by product_changes.transaction, product_changes.position
        limit 10001
    ) as writes
) as backlog
where encoder_version = $1::text;

-- name: lead_embedding
-- leading: whether this session is now the one that embeds; it stays so until it ends.
select pg_try_advisory_lock(7355608, 116) as leading;
