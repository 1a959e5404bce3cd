-- name: popularity_features
-- $1 product ids. product_id, popularity in [0, 1] (0 for a product nobody has touched), version: that of the
-- popularity in force. No rows before the first popularity job.
select requested.product_id, coalesce(product_popularity.popularity, 0)::real as popularity, popularity_versions.version
from popularity_versions
cross join unnest($1::text[]) as requested (product_id)
left join product_popularity on product_popularity.product_id = requested.product_id
where popularity_versions.active;

-- name: popular_products
-- $1 limit, $2 category or null, $3 in stock (null: yes). product_id, popularity, revision: what is in stock, or out of it when
-- that is asked for, $4 lowest and $5 highest price or null, and not hidden; most popular first, equal popularity by product id. When too few products have a popularity, others follow by product id with popularity 0.
with popular as materialized (
    select product_popularity.product_id, product_popularity.popularity, products.updated_at
    from product_popularity
    join products on products.id = product_popularity.product_id
    where products.in_stock = coalesce($3::boolean, true) and not products.hidden and ($2::text is null or products.category = $2)
        and ($4::numeric is null or products.price >= $4) and ($5::numeric is null or products.price <= $5)
    order by product_popularity.popularity desc, product_popularity.product_id
    limit $1::integer
), others as (
    select products.id as product_id, 0::real as popularity, products.updated_at
    from products
    where (select count(*) from popular) < $1::integer
        and products.in_stock = coalesce($3::boolean, true) and not products.hidden and ($2::text is null or products.category = $2)
        and ($4::numeric is null or products.price >= $4) and ($5::numeric is null or products.price <= $5)
        and not exists (select from product_popularity where product_popularity.product_id = products.id)
    order by products.id
    limit $1::integer
)
select product_id, popularity, (extract(epoch from updated_at) * 1000000)::bigint as revision
from (select * from popular union all select * from others) as found
order by popularity desc, product_id
limit $1::integer;
