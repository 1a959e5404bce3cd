-- name: products_by_id
-- $1 product ids. Whole rows for display, in no order; ids that do not exist are left out.
select id, title, description, category, brand, price, currency, in_stock, hidden, image_url, created_at, attributes,
    updated_at
from products
where id = any ($1::text[]);

-- name: product_features
-- $1 product ids. What ranking and its rules need of all candidates, in no order; ids that do not exist are left out.
-- revision: updated_at in microseconds since 1970; with the id it names one state of the product.
select
    id as product_id, created_at, in_stock, hidden, category, price, brand,
    (extract(epoch from updated_at) * 1000000)::bigint as revision
from products
where id = any ($1::text[]);

-- name: catalogue_position
-- position: transaction and number of the last change that no change still to appear can precede, "0-0" before the
-- first: where a reader of changes may stop. seen: what of the catalogue a read sees: the position, then "+" and how
-- many later changes are visible already while an older transaction is open. text_search_version: how the text index
-- was made, and the versions of the vocabulary and of the head. popularity_version, window_end: the popularity in force; null before the first. All are stable while the
-- catalogue is.
select
    position,
    position || coalesce((
        select '+' || count(*)::text
        from product_changes
        where transaction >= pg_snapshot_xmin(pg_current_snapshot())
        having count(*) > 0
    ), '') as seen,
    (
        select text_search_version() || '-' || vocabulary_version || '-' || head_version from keyword_state
    ) as text_search_version,
    popularity_versions.version as popularity_version,
    popularity_versions.window_end
from (
    select coalesce((
        select transaction::text || '-' || position::text
        from product_changes
        where transaction < pg_snapshot_xmin(pg_current_snapshot())
        order by product_changes.transaction desc, product_changes.position desc
        limit 1
    ), '0-0') as position
) as bound
left join popularity_versions on popularity_versions.active;

