-- Products, what is known about them, and the feed of their changes.

-- Names how search_vector is made; a migration that changes search_vector changes this too.
create function text_search_version() returns text
    language sql immutable parallel safe
    return 'english-1';

create table products (
    id text primary key check (char_length(id) between 1 and 128),
    title text not null,
    description text,
    category text,
    brand text,
    price numeric(14, 4) check (price >= 0),
    currency text,
    in_stock boolean not null default true,
    hidden boolean not null default false,
    image_url text,
    created_at timestamptz not null default now(),
    attributes jsonb not null default '{}' check (jsonb_typeof(attributes) = 'object'),
    updated_at timestamptz not null default now(),
    search_vector tsvector not null generated always as (
        setweight(to_tsvector('english'::regconfig, title), 'A')
        || setweight(to_tsvector('english'::regconfig, coalesce(category, '') || ' ' || coalesce(brand, '')), 'B')
        || setweight(jsonb_to_tsvector('english'::regconfig, attributes, '["string"]'), 'C')
        || setweight(to_tsvector('english'::regconfig, coalesce(description, '')), 'D')
    ) stored
);

create index products_search_vector on products using gin (search_vector) with (fastupdate = off);

-- Apart from products: it is rewritten every few minutes and must not touch the text index or the change feed.
-- No foreign key: a popularity job may count events of a product that was just deleted.
create table product_popularity (
    product_id text primary key,
    popularity real not null check (popularity between 0 and 1),
    weighted_count double precision not null,
    version text not null
);

create index product_popularity_order on product_popularity (popularity desc, product_id);

create table popularity_versions (
    version text primary key,
    window_end timestamptz not null,
    half_life_days double precision not null,
    active boolean not null default false,
    created_at timestamptz not null default now()
);

create unique index popularity_versions_one_active on popularity_versions (active) where active;

-- embedding: little-endian float32, as numpy's tobytes() writes it.
create table product_embeddings (
    product_id text not null references products (id) on delete cascade,
    encoder_version text not null,
    embedding bytea not null check (octet_length(embedding) > 0 and octet_length(embedding) % 4 = 0),
    primary key (product_id, encoder_version)
);

-- Positions are handed out before commit, so they become visible out of order. A reader takes the rows whose
-- transaction is older than its snapshot's xmin, in the order of the primary key, and none is ever missed.
create table product_changes (
    transaction xid8 not null default pg_current_xact_id(),
    position bigint generated always as identity,
    product_id text not null,
    operation text not null check (operation in ('upsert', 'delete')),
    changed_at timestamptz not null default clock_timestamp(),
    primary key (transaction, position)
);

create function record_inserted_products() returns trigger language plpgsql as $$
begin
    insert into product_changes (product_id, operation) select id, 'upsert' from inserted order by id;
    return null;
end $$;

create function record_deleted_products() returns trigger language plpgsql as $$
begin
    insert into product_changes (product_id, operation) select id, 'delete' from deleted order by id;
    return null;
end $$;

create function record_updated_products() returns trigger language plpgsql as $$
begin
    insert into product_changes (product_id, operation)
    select before.id, 'delete' from before
    where not exists (select from after where after.id = before.id)
    order by before.id;

    insert into product_changes (product_id, operation)
    select after.id, 'upsert' from after
    where not exists (
        select from before
        where before.id = after.id
            and (before.title, before.description, before.category, before.brand, before.price, before.currency,
                before.in_stock, before.hidden, before.image_url, before.created_at, before.attributes)
            is not distinct from
                (after.title, after.description, after.category, after.brand, after.price, after.currency,
                after.in_stock, after.hidden, after.image_url, after.created_at, after.attributes)
    )
    order by after.id;
    return null;
end $$;

create function record_truncated_products() returns trigger language plpgsql as $$
begin
    insert into product_changes (product_id, operation) select id, 'delete' from products order by id;
    return null;
end $$;

create trigger record_inserted after insert on products
    referencing new table as inserted for each statement execute function record_inserted_products();
create trigger record_updated after update on products
    referencing old table as before new table as after for each statement execute function record_updated_products();
create trigger record_deleted after delete on products
    referencing old table as deleted for each statement execute function record_deleted_products();
create trigger record_truncated before truncate on products
    for each statement execute function record_truncated_products();
