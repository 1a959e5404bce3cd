-- What users did, and what they were shown.

create table users (
    id text primary key check (char_length(id) between 1 and 128),
    attributes jsonb not null default '{}' check (jsonb_typeof(attributes) = 'object'),
    created_at timestamptz not null default now()
);

-- Append-only. A product need not exist: its events count once it does.
create table events (
    id text not null,
    user_id text not null,
    product_id text not null,
    type text not null check (type in ('view', 'click', 'add_to_cart', 'purchase', 'rating')),
    value double precision,
    occurred_at timestamptz not null,
    request_id text,
    received_at timestamptz not null default now()
) partition by range (occurred_at);

create index events_user on events (user_id, occurred_at desc);
create index events_time on events using brin (occurred_at);

-- Takes what no month has been made for, so that an insert never fails for want of a partition.
create table events_default partition of events default;

-- Unpartitioned, because a unique key of a partitioned table would have to hold the time.
create table event_ids (id text primary key);

-- Makes the partition of one month (UTC) and moves into it what the default partition held of that month.
-- Returns whether it was made now.
create function ensure_event_partition(moment timestamptz) returns boolean language plpgsql as $$
declare
    first_moment timestamptz := date_trunc('month', moment, 'UTC');
    end_moment timestamptz := ((first_moment at time zone 'UTC') + interval '1 month') at time zone 'UTC';
    partition_name text := 'events_' || to_char(first_moment at time zone 'UTC', 'YYYY_MM');
begin
    if to_regclass(partition_name) is not null then
        return false;
    end if;
    perform pg_advisory_xact_lock(hashtext('shortlist.event_partitions'));
    if to_regclass(partition_name) is not null then
        return false;
    end if;
    lock table events_default in access exclusive mode;
    execute format('create table %I (like events including defaults including constraints)', partition_name);
    execute format(
        'with moved as (delete from events_default where occurred_at >= $1 and occurred_at < $2 returning *)
         insert into %I select * from moved', partition_name) using first_moment, end_moment;
    execute format('alter table events attach partition %I for values from (%L) to (%L)',
        partition_name, first_moment, end_moment);
    return true;
end $$;

-- Makes every month from the one of first_moment to the one of last_moment. Returns how many were made.
create function ensure_event_partitions(first_moment timestamptz, last_moment timestamptz) returns integer
    language sql as $$
    select count(*) filter (where ensure_event_partition(month at time zone 'UTC'))::integer
    from generate_series(
        date_trunc('month', first_moment at time zone 'UTC'), last_moment at time zone 'UTC', interval '1 month'
    ) as month
$$;

-- What each answer showed, one row an answer; the arrays run in the order shown.
create table impressions (
    request_id text not null,
    shown_at timestamptz not null default now(),
    kind text not null check (kind in ('search', 'recommendations')),
    user_id text,
    query text,
    product_ids text[] not null,
    ranks integer[] not null,
    scores double precision[] not null,
    features jsonb not null default '[]',
    versions jsonb not null default '{}',
    check (cardinality(ranks) = cardinality(product_ids) and cardinality(scores) = cardinality(product_ids))
);

create index impressions_request on impressions (request_id);
create index impressions_time on impressions using brin (shown_at);
