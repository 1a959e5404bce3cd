-- name: keyword_rare_word
-- Arguments and columns of keyword_candidates, and its answer, for a text of one word that at most 50 products held when
-- last counted; no rows for any other text, which says nothing. A plan so small costs less than plain ts_rank.
with rare as materialized (
    select
        lexeme_query(word) as wish, $3::text as category, $4::numeric as price_min, $5::numeric as price_max,
        $6::boolean as in_stock
    from tsvector_to_array(to_tsvector('english', $1::text)) as lexemes
    join vocabulary on word = lexemes[1]
    where cardinality(lexemes) = 1 and documents <= 50
)
select
    product_id,
    round(
        (0.6 + least(
            0.999999,
            0.9 * ts_rank('{0.8, 0.8, 1, 1}', search_vector, wish) * power(3 / ln(length(search_vector) + 1), 0.3)
        )) / 1.6 * 1000000
    ) / 1000000 as score,
    (extract(epoch from updated_at) * 1000000)::bigint as revision
from rare
cross join lateral (
    select id as product_id, updated_at, search_vector
    from products
    where search_vector @@ rare.wish and not hidden
        and (rare.category is null or category = rare.category)
        and (rare.price_min is null or price >= rare.price_min)
        and (rare.price_max is null or price <= rare.price_max)
        and (rare.in_stock is null or in_stock = rare.in_stock)
    limit 1000
) as found
order by score desc, product_id
limit $2::integer;

-- name: keyword_candidates
-- $1 query text, $2 limit, $3 category or null, $4 lowest price or null, $5 highest price or null, $6 in stock or null.
-- product_id, score, revision (updated_at in microseconds since 1970): best first, equal scores by product id. A text
-- without a searchable word gives no rows. A price bound leaves out products without a price.
-- A word that no product holds stands for the commonest words it is the beginning of, if it is the last and may be
-- unfinished; else for the commonest word one letter away (wrong, missing, too many or two exchanged); else for the word
-- with most letter groups in common; if there is none it counts for nothing.
-- The search goes down in steps until there are 200 products, or as many as asked for: those that hold every term; then all
-- but one (of the six rarest terms, where there are more); then the rarest; then any. Each level looks at the two tiers of
-- the popular products first and then at the rest; where at most 50 products hold the term that decides, or 3000 lie in the
-- range of prices, at all of them at once. A step scores a thousand products at most, of the tiers the most popular ones.
-- score = (text * (0.9 + 0.1 * popularity) + level / 5) / 1.6, in [0, 1), where level is 3 for every term to 0 for any,
-- and text in [0, 1) the mean of ts_rank over the six rarest terms, weighted by their inverse document frequency, times
-- (3 / ln(n + 1)) ^ 0.3 for a product of n different words: a word says less of a product that says much. Words of titles,
-- brands and categories weigh 1, of attributes and descriptions 0.8. Rounded to six decimals. popularity counts for
-- products of the tiers, rounded to two decimals, and is 0 for others.
-- What is asked is read from a CTE, so that the plan for any values is the plan for these: a session stops planning it
-- anew.
with recursive asked as materialized (
    select
        $2::integer as size, $3::text as category, $4::numeric as price_min, $5::numeric as price_max,
        $6::boolean as in_stock, documents as counted,
        coalesce($4::numeric, $5::numeric) is not null and (
            select count(*) <= 3000
            from (
                select
                from products
                where price >= coalesce($4::numeric, 0) and price <= coalesce($5::numeric, 'infinity')
                order by price
                limit 3001
            ) as first_products
        ) as narrow
    from keyword_state
), typed as materialized (
    select
        lexeme, positions[1] as place,
        positions[1] = max(positions[1]) over () and right($1::text, 1) ~ '\w' as unfinished,
        coalesce(
            (select vocabulary.documents from vocabulary where vocabulary.word = lexeme),
            case
                when counted = 0 then 1
                else nullif((select count(*) from products where search_vector @@ lexeme_query(lexeme)), 0)
            end
        ) as documents
    from asked cross join unnest(to_tsvector('english', $1::text))
), strange as materialized (
    select lexeme, unfinished from typed where documents is null order by place, lexeme limit 5
), terms as materialized (
    select lexeme_query(lexeme)::text as term, documents from typed where documents is not null
    union
    select
        coalesce(completed.term, corrected.term, similar_word.term),
        coalesce(completed.documents, corrected.documents, similar_word.documents)
    from strange
    left join lateral (
        select '(' || string_agg(lexeme_query(word)::text, ' | ' order by word) || ')' as term, sum(documents) as documents
        from (
            select word, documents
            from vocabulary
            where unfinished and char_length(lexeme) > 1 and word > lexeme and word < lexeme || chr(1114111)
            order by documents desc, word
            limit 5
        ) as continued
    ) as completed on true
    left join lateral (
        select lexeme_query(word)::text as term, documents
        from vocabulary
        where completed.term is null and char_length(lexeme) between 4 and 64 and word = any (array(
            select left(lexeme, n) || substr(lexeme, n + 2, 1) || substr(lexeme, n + 1, 1) || substr(lexeme, n + 3)
            from generate_series(0, char_length(lexeme) - 2) as n
            union all
            select left(lexeme, n) || letter || substr(lexeme, n + 1 + gone)
            from generate_series(0, char_length(lexeme)) as n
            cross join (values (0), (1)) as edits (gone)
            cross join unnest(array[''] || string_to_array('abcdefghijklmnopqrstuvwxyz0123456789', null)) as letter
        ))
        order by documents desc, word
        limit 1
    ) as corrected on true
    left join lateral (
        select lexeme_query(word)::text as term, documents
        from vocabulary
        where completed.term is null and corrected.term is null and char_length(lexeme) between 4 and 64
            and word % lexeme
        order by similarity(word, lexeme) desc, documents desc, word
        limit 1
    ) as similar_word on true
    where coalesce(completed.term, corrected.term, similar_word.term) is not null
), weighed as materialized (
    select
        term, documents,
        case
            when counted = 0 then 1
            else ln(1 + greatest(counted - documents, 0) / (documents + 0.5))::double precision
        end + 0.01 as idf,
        row_number() over (order by documents, term) as place
    from terms cross join asked
), wanted as materialized (
    select
        count(*) as number,
        array_agg(term::tsquery order by place) filter (where place <= 6) as each_term,
        array_agg(idf / total order by place) filter (where place <= 6) as weights,
        string_agg(term, ' & ') as every_term,
        string_agg(term, ' | ') as any_term,
        max(term) filter (where place = 1) as rarest_term,
        case when count(*) > 2 then (
            select string_agg(others, ' | ')
            from (
                select '(' || string_agg(kept.term, ' & ') || ')' as others
                from weighed as dropped join weighed as kept on kept.place <> dropped.place and kept.place <= 6
                where dropped.place <= 6
                group by dropped.place
            ) as combinations
        ) end as all_but_one,
        min(documents) as rarest_documents,
        sum(documents) filter (where place <= 2) as rarest_two_documents
    from weighed cross join (select sum(idf) as total from weighed where place <= 6) as sums
), steps as materialized (
    select
        row_number() over (order by level desc, tier) as step, level, tier, wish::tsquery as wish, each_term, weights,
        size, category, coalesce(price_min, 0) as least_price, coalesce(price_max, 'infinity') as most_price, price_min,
        price_max, in_stock
    from asked cross join wanted
    cross join lateral (
        values
        (3, every_term, rarest_documents),
        (2, case when number > 2 then format('(%s) & !(%s)', all_but_one, every_term) end, rarest_two_documents),
        (1, case
            when number > 2 then format('%s & !(%s) & !(%s)', rarest_term, every_term, all_but_one)
            when number = 2 then format('%s & !(%s)', rarest_term, every_term)
        end, rarest_documents),
        (0, case
            when number > 2 then format('(%s) & !(%s) & !(%s)', any_term, rarest_term, all_but_one)
            when number = 2 then format('(%s) & !(%s)', any_term, rarest_term)
        end, null)
    ) as levels (level, wish, documents)
    join (values (0), (1), (2), (3), (4)) as tiers (tier)
        on case when documents <= 50 and counted > 0 then tier = 3 when narrow then tier = 4 else tier < 3 end
    where wish is not null
), climbed as (
    select 0::bigint as step, 0 as found, '{}'::text[] as ids, '{}'::float8[] as scores, '{}'::timestamptz[] as updates
    union all
    select
        steps.step, climbed.found + coalesce(cardinality(scored.ids), 0), scored.ids, scored.scores, scored.updates
    from climbed
    join steps on steps.step = climbed.step + 1
    cross join lateral (
        select
            array_agg(product_id) as ids, array_agg(updated_at) as updates,
            array_agg((steps.level / 5.0 + least(0.999999, (0.9 + 0.1 * popularity) * (
                weights[1] * ts_rank('{0.8, 0.8, 1, 1}', search_vector, each_term[1])
                + coalesce(weights[2] * ts_rank('{0.8, 0.8, 1, 1}', search_vector, each_term[2]), 0)
                + coalesce(weights[3] * ts_rank('{0.8, 0.8, 1, 1}', search_vector, each_term[3]), 0)
                + coalesce(weights[4] * ts_rank('{0.8, 0.8, 1, 1}', search_vector, each_term[4]), 0)
                + coalesce(weights[5] * ts_rank('{0.8, 0.8, 1, 1}', search_vector, each_term[5]), 0)
                + coalesce(weights[6] * ts_rank('{0.8, 0.8, 1, 1}', search_vector, each_term[6]), 0)
            ) * power(3 / ln(length(search_vector) + 1), 0.3))) / 1.6) as scores
        from (
            (
                select product_id, popularity, updated_at, search_vector
                from keyword_head
                where steps.tier = 0 and tier = 0 and search_vector @@ steps.wish and not hidden
                    and (steps.category is null or category = steps.category)
                    and (steps.price_min is null or price >= steps.price_min)
                    and (steps.price_max is null or price <= steps.price_max)
                    and (steps.in_stock is null or in_stock = steps.in_stock)
                order by popularity desc, product_id
                limit 1000
            )
            union all
            (
                select product_id, popularity, updated_at, search_vector
                from keyword_head
                where steps.tier = 1 and tier = 1 and search_vector @@ steps.wish and not hidden
                    and steps.category is null
                    and (steps.price_min is null or price >= steps.price_min)
                    and (steps.price_max is null or price <= steps.price_max)
                    and (steps.in_stock is null or in_stock = steps.in_stock)
                order by popularity desc, product_id
                limit 1000
            )
            union all
            (
                select product_id, popularity, updated_at, search_vector
                from keyword_head
                where steps.tier = 1 and tier = 1 and search_vector @@ steps.wish and not hidden
                    and category = steps.category
                    and (steps.price_min is null or price >= steps.price_min)
                    and (steps.price_max is null or price <= steps.price_max)
                    and (steps.in_stock is null or in_stock = steps.in_stock)
                order by popularity desc, product_id
                limit 1000
            )
            union all
            (
                select id, 0, updated_at, search_vector
                from products
                where steps.tier in (2, 3) and search_vector @@ steps.wish and not hidden
                    and steps.category is null
                    and (steps.price_min is null or price >= steps.price_min)
                    and (steps.price_max is null or price <= steps.price_max)
                    and (steps.in_stock is null or in_stock = steps.in_stock)
                    and (steps.tier = 3 or (select true from keyword_head where product_id = id) is null)
                limit 1000
            )
            union all
            (
                select id, 0, updated_at, search_vector
                from products
                where steps.tier in (2, 3) and search_vector @@ steps.wish and not hidden
                    and category = steps.category
                    and (steps.price_min is null or price >= steps.price_min)
                    and (steps.price_max is null or price <= steps.price_max)
                    and (steps.in_stock is null or in_stock = steps.in_stock)
                    and (steps.tier = 3 or (select true from keyword_head where product_id = id) is null)
                limit 1000
            )
            union all
            (
                select id, 0, updated_at, search_vector
                from products
                where steps.tier = 4 and price >= steps.least_price and price <= steps.most_price
                    and search_vector @@ steps.wish and not hidden
                    and (steps.category is null or category = steps.category)
                    and (steps.in_stock is null or in_stock = steps.in_stock)
                limit 1000
            )
        ) as found
    ) as scored
    where climbed.found < least(steps.size, 200)
)
select product_id, score, (extract(epoch from updated_at) * 1000000)::bigint as revision
from (
    select product_id, round(score * 1000000) / 1000000 as score, updated_at
    from climbed cross join lateral unnest(ids, scores, updates) as each (product_id, score, updated_at)
) as found
order by score desc, product_id
limit $2::integer;
