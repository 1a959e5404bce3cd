-- Revisions of products, digests of what was embedded, the feed's third operation, events counted by user.

-- A product's revision is updated_at in microseconds: the database alone sets it, it moves with each change of content
-- and with nothing else, and never goes back.
create function revise_product() returns trigger language plpgsql as $$
begin
    if (old.id, old.title, old.description, old.category, old.brand, old.price, old.currency,
            old.in_stock, old.hidden, old.image_url, old.created_at, old.attributes)
        is distinct from
            (new.id, new.title, new.description, new.category, new.brand, new.price, new.currency,
            new.in_stock, new.hidden, new.image_url, new.created_at, new.attributes)
    then
        new.updated_at := greatest(clock_timestamp(), old.updated_at + interval '1 microsecond');
    else
        new.updated_at := old.updated_at;
    end if;
    return new;
end $$;

create trigger revised before update on products for each row execute function revise_product();

alter table products alter column updated_at set default clock_timestamp();

-- text_digest: the first 16 bytes of the SHA-256 of the text that was embedded; null where that is not known.
alter table product_embeddings add column text_digest bytea check (octet_length(text_digest) = 16);

alter table product_changes drop constraint product_changes_operation_check;
alter table product_changes add constraint product_changes_operation_check
    check (operation in ('upsert', 'delete', 'embed'));

-- A training job publishes its vectors in an index, so it keeps them out of the feed:
-- set local shortlist.bulk_embeddings = 'on'.
create function record_inserted_embeddings() returns trigger language plpgsql as $$
begin
    if coalesce(current_setting('shortlist.bulk_embeddings', true), '') <> 'on' then
        insert into product_changes (product_id, operation)
        select distinct product_id, 'embed' from inserted order by product_id;
    end if;
    return null;
end $$;

create function record_updated_embeddings() returns trigger language plpgsql as $$
begin
    if coalesce(current_setting('shortlist.bulk_embeddings', true), '') <> 'on' then
        insert into product_changes (product_id, operation)
        select distinct after.product_id, 'embed' from after
        where not exists (
            select from before
            where (before.product_id, before.encoder_version, before.embedding)
                = (after.product_id, after.encoder_version, after.embedding)
        )
        order by product_id;
    end if;
    return null;
end $$;

create trigger record_inserted after insert on product_embeddings
    referencing new table as inserted for each statement execute function record_inserted_embeddings();
create trigger record_updated after update on product_embeddings
    referencing old table as before new table as after for each statement execute function record_updated_embeddings();

-- How far ingestion has embedded the feed, by encoder. It travels with the feed to a promoted replica.
create table embedding_cursors (
    encoder_version text primary key,
    transaction xid8 not null,
    position bigint not null,
    moved_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

-- How many events of the user were ever accepted.
alter table users add column event_count bigint not null default 0 check (event_count >= 0);

update users set event_count = counted.number
from (select user_id, count(*) as number from events group by user_id) as counted
where users.id = counted.user_id;
