-- name: lock_vocabulary
-- Lets one refresh of the vocabulary at a time through, until the transaction ends.
select pg_advisory_xact_lock(hashtext('shortlist.vocabulary'));

-- name: vocabulary_state
-- documents that were counted, uncounted products changed since; changed: how many products have changes that the
-- vocabulary does not know of, those beyond a transaction still open among them; transaction and position of the newest
-- change that no other can still precede, null before the first. lost: whether that says nothing, because nothing was
-- ever counted or this database never gave out the position (it was restored from a dump).
select
    documents, uncounted, newest.transaction::text as transaction, newest.position,
    vocabulary_version = 0 and exists (select from products)
        or counted_transaction >= pg_snapshot_xmax(pg_current_snapshot()) as lost,
    (
        select count(distinct product_id)
        from product_changes
        where (transaction, position) > (counted_transaction, counted_position) and operation in ('upsert', 'delete')
    ) as changed
from keyword_state
left join (
    select transaction, position
    from product_changes
    where transaction < pg_snapshot_xmin(pg_current_snapshot())
    order by product_changes.transaction desc, product_changes.position desc
    limit 1
) as newest on true;

-- name: count_vocabulary
-- Counts every word of every product anew. changed: how many words came, went or have another number now. Words of more
-- than 64 characters are left out.
merge into vocabulary
using (
    select word, ndoc as documents from ts_stat('select search_vector from products') where char_length(word) <= 64
) as counted
on vocabulary.word = counted.word
when matched and vocabulary.documents <> counted.documents then update set documents = counted.documents
when not matched then insert (word, documents) values (counted.word, counted.documents)
when not matched by source then delete;

-- name: add_to_vocabulary
-- Adds the words that are new, of the products changed since the vocabulary was last brought up to date.
insert into vocabulary (word, documents)
select term, count(*)
from (
    select distinct product_id
    from product_changes, keyword_state
    where (transaction, position) > (counted_transaction, counted_position) and operation = 'upsert'
) as changed
join products on products.id = changed.product_id
cross join lateral unnest(tsvector_to_array(search_vector)) as held (term)
where char_length(term) <= 64 and not exists (select from vocabulary where vocabulary.word = term)
group by term
order by term
on conflict do nothing;

-- name: vocabulary_counted
-- $1 transaction and $2 position of the last change counted, or null; $3 whether any word changed. Documents are counted
-- anew, which makes a new version where their number is another one.
with counted as (select count(*) as documents from products)
update keyword_state
set documents = counted.documents, uncounted = 0,
    counted_transaction = coalesce($1::text::xid8, '0'), counted_position = coalesce($2::bigint, 0),
    vocabulary_version = vocabulary_version
        + case when $3::boolean or keyword_state.documents <> counted.documents then 1 else 0 end
from counted;

-- name: vocabulary_extended
-- $1 transaction and $2 position of the last change taken in, or null, $3 how many products changed, $4 whether any word is new.
update keyword_state
set counted_transaction = coalesce($1::text::xid8, counted_transaction),
    counted_position = coalesce($2::bigint, counted_position), uncounted = uncounted + $3::bigint,
    vocabulary_version = vocabulary_version + case when $4::boolean then 1 else 0 end;

-- name: lock_keyword_head
-- Lets one refresh of the head at a time through, until it unlocks.
select pg_advisory_lock(hashtext('shortlist.keyword_head'));

-- name: unlock_keyword_head
-- Lets the next one through.
select pg_advisory_unlock(hashtext('shortlist.keyword_head'));

-- name: keyword_head_state
-- head_popularity and head_changes that the head was made from, popularity as it is now.
select head_popularity, head_changes, (select version from popularity_versions where active) as popularity
from keyword_state;

-- name: keyword_head_moves
-- $1 size of the head, $2 size of its first tier. product_id, tier, popularity of each product that has to come in, move
-- or (tier null) go out; the head is the most popular products that exist, and when too few have a popularity, others
-- by id. Popularities are rounded to two decimals, so that most stay as they are when it is counted anew.
with popular as materialized (
    select product_id, popularity
    from product_popularity
    where exists (select from products where products.id = product_popularity.product_id)
    order by popularity desc, product_id
    limit $1::integer
), uncounted as materialized (
    select id as product_id, 0::real as popularity
    from products
    where not exists (select from product_popularity where product_popularity.product_id = products.id)
    order by id
    limit greatest($1::integer - (select count(*) from popular), 0)
), wanted as (
    select
        product_id, round(popularity::numeric, 2)::real as popularity,
        case when row_number() over (order by popularity desc, product_id) <= $2::integer then 0 else 1 end as tier
    from (select * from popular union all select * from uncounted) as chosen
)
select product_id, wanted.tier, wanted.popularity
from wanted full join keyword_head as held using (product_id)
where (wanted.tier, wanted.popularity) is distinct from (held.tier::integer, held.popularity)
order by product_id;

-- name: move_in_keyword_head
-- $1 product ids, $2 tiers (null: out of the head), $3 popularities. product_id of those moved. Their products are
-- locked meanwhile, so that no change of one is missed; one that a writer holds is left for the next time, so that
-- nobody waits for a writer.
with moves as materialized (
    select * from unnest($1::text[], $2::smallint[], $3::real[]) as moves (product_id, tier, popularity)
), held as materialized (
    select id, category, price, in_stock, hidden, updated_at, search_vector
    from products
    where id = any ($1::text[])
    order by id
    for share skip locked
), gone as (
    delete from keyword_head
    where product_id in (select id from held join moves on moves.product_id = held.id where moves.tier is null)
    returning product_id
), placed as (
    insert into keyword_head as head
        (product_id, tier, popularity, category, price, in_stock, hidden, updated_at, search_vector)
    select id, tier, popularity, category, price, in_stock, hidden, updated_at, search_vector
    from held join moves on moves.product_id = held.id
    where tier is not null
    order by id
    on conflict (product_id) do update set tier = excluded.tier, popularity = excluded.popularity
    returning product_id
)
select product_id from gone union all select product_id from placed;

-- name: keyword_head_moved
-- $1 popularity version and $2 changes that the head is made from, null and null while it is under way; $3 whether
-- products moved, which makes a new version.
update keyword_state
set head_version = head_version + case when $3::boolean then 1 else 0 end,
    head_popularity = $1::text, head_changes = $2::text;
