-- Search by words at scale: which words there are, and a small copy of what the most popular products say.
-- catalogue/vocabulary.py fills both; until it has, every product is looked at and every word weighs the same.

create extension if not exists pg_trgm;
create extension if not exists btree_gin;

-- With the category, so that the few products of a rare category that hold a very common word are found by the index.
drop index products_search_vector;
create index products_search_vector on products using gin (search_vector, category) with (fastupdate = off);

-- The query for one lexeme, whatever characters it holds.
create function lexeme_query(lexeme text) returns tsquery
    language sql immutable parallel safe
    return ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''')::tsquery;

-- documents: how many products hold the word (a lexeme), when last counted.
create table vocabulary (
    word text collate "C" primary key,
    documents integer not null check (documents > 0)
);

create index vocabulary_similar on vocabulary using gin (word gin_trgm_ops) with (fastupdate = off);

-- The most popular products in two tiers, the first much smaller. Only product and tier come from the popularity; the
-- rest is the product's own, kept in step by the triggers below.
create table keyword_head (
    product_id text primary key,
    tier smallint not null check (tier in (0, 1)),
    popularity real not null,
    category text,
    price numeric(14, 4),
    in_stock boolean not null,
    hidden boolean not null,
    updated_at timestamptz not null,
    search_vector tsvector not null
) with (fillfactor = 85);

create index keyword_head_first on keyword_head using gin (search_vector) with (fastupdate = off) where tier = 0;
create index keyword_head_second on keyword_head using gin (search_vector, category) with (fastupdate = off)
    where tier = 1;

-- What scores of a search by words depend on besides the products. counted_to: the last change the vocabulary knows of;
-- uncounted: products changed since every word was counted; head_popularity and head_changes: what the head was made from.
create table keyword_state (
    id integer primary key check (id = 1),
    vocabulary_version bigint not null default 0,
    documents bigint not null default 0,
    counted_transaction xid8 not null default '0',
    counted_position bigint not null default 0,
    uncounted bigint not null default 0,
    head_version bigint not null default 0,
    head_popularity text,
    head_changes text
);

insert into keyword_state (id) values (1);

create function keep_keyword_head() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' or new.id <> old.id then
        delete from keyword_head where product_id = old.id;
    else
        update keyword_head
        set (category, price, in_stock, hidden, updated_at, search_vector) =
            (new.category, new.price, new.in_stock, new.hidden, new.updated_at, new.search_vector)
        where product_id = new.id;
    end if;
    return null;
end $$;

create function empty_keyword_head() returns trigger language plpgsql as $$
begin
    delete from keyword_head;
    return null;
end $$;

create trigger keep_keyword_head_updated after update on products
    for each row when (old is distinct from new) execute function keep_keyword_head();
create trigger keep_keyword_head_deleted after delete on products
    for each row execute function keep_keyword_head();
create trigger keep_keyword_head_truncated after truncate on products
    for each statement execute function empty_keyword_head();
