-- name: products_by_id
-- $1 product ids. Whole rows for display, in no order; ids that do not exist are left out.
select id, title, description, category, brand, price, currency, in_stock, hidden, image_url, created_at, attributes,
    updated_at
from products
where id = any ($1::text[]);

-- name: product_features
-- $1 product ids. What ranking and its rules need of all candidates, in no order; ids that do not exist are left out.
select id as product_id, created_at, in_stock, hidden, category, price, brand
from products
where id = any ($1::text[]);

-- name: catalogue_position
-- position: what of the catalogue a read sees. Transaction and number of the last change that no change still to
-- appear can precede, "0-0" before the first; then "+" and how many later changes are seen already, while an older
-- transaction is open. text_search_version: how the text index was made. Stable while the catalogue is.
select
    coalesce((
        select transaction::text || '-' || position::text
        from product_changes
        where transaction < pg_snapshot_xmin(pg_current_snapshot())
        order by product_changes.transaction desc, product_changes.position desc
        limit 1
    ), '0-0') || coalesce((
        select '+' || count(*)::text
        from product_changes
        where transaction >= pg_snapshot_xmin(pg_current_snapshot())
        having count(*) > 0
    ), '') as position,
    text_search_version() as text_search_version;
