-- name: keyword_candidates
-- $1 query text, $2 limit, $3 category or null, $4 lowest price or null, $5 highest price or null, $6 in stock or null.
-- product_id, score, total: best first, equal scores by product id; total counts every match.
-- Products that hold all terms come first. When they are fewer than the limit, products that hold some of the terms
-- follow. score = (terms held + r / (r + 1)) / terms, r being ts_rank, so it lies in (0, 2) and more terms held always
-- wins. A text without a searchable term gives no rows. A price bound leaves out products without a price.
with terms as materialized (
    select
        array_agg(term::tsquery) as each_term,
        string_agg(term, ' & ')::tsquery as every_term,
        string_agg(term, ' | ')::tsquery as any_term,
        count(*)::real as number
    from (
        select '''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''' as term
        from unnest(to_tsvector('english', $1::text))
    ) as lexemes
), every_match as materialized (
    select id, 1 + ts_rank(search_vector, every_term, 32) / number as score
    from terms cross join products
    where search_vector @@ (select every_term from terms)
        and not hidden
        and ($3::text is null or category = $3)
        and ($4::numeric is null or price >= $4)
        and ($5::numeric is null or price <= $5)
        and ($6::boolean is null or in_stock = $6)
), any_match as (
    select
        id,
        ((select count(*) from unnest(each_term) as term where search_vector @@ term)
            + ts_rank(search_vector, any_term, 32)) / number as score
    from terms cross join products
    where (select number > 1 and (select count(*) from every_match) < $2::integer from terms)
        and search_vector @@ (select any_term from terms)
        and not search_vector @@ (select every_term from terms)
        and not hidden
        and ($3::text is null or category = $3)
        and ($4::numeric is null or price >= $4)
        and ($5::numeric is null or price <= $5)
        and ($6::boolean is null or in_stock = $6)
)
select id as product_id, score::real as score, count(*) over () as total
from (select * from every_match union all select * from any_match) as matches
order by score desc, product_id
limit $2::integer;
