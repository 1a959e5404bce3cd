-- What an event weighs, where the data window ends, which months of events are attached, and when upkeep last ran.

-- types and weights run in parallel. A rating weighs (value / best_rating) squared times its type's weight, values beyond
-- the scale as its nearer end; one without a value weighs as a view. Null for a type that is not among types.
create function event_weight(
    type text, value double precision, types text[], weights double precision[], best_rating double precision
) returns double precision language sql immutable parallel safe as $$
    select case
        when type = 'rating' and value is not null then
            weights[array_position(types, 'rating')] * power(least(greatest(value, 0), best_rating) / best_rating, 2)
        when type = 'rating' then weights[array_position(types, 'view')]
        else weights[array_position(types, type)]
    end
$$;

-- The time that all but one in a thousand events precede; null without events. An event of the future is never the end.
-- Months of more than 100,000 events are counted by their statistics, all others exactly: the end is off by a few events
-- at most, and big old months are not read.
create function event_window_end() returns timestamptz language plpgsql stable as $$
declare
    month record;
    counted bigint;
    total double precision := 0;
    oldest timestamptz;
    ended timestamptz;
begin
    for month in
        select inhrelid::regclass as name, reltuples
        from pg_inherits join pg_class on pg_class.oid = inhrelid
        where inhparent = 'events'::regclass
    loop
        if month.reltuples >= 100000 then
            total := total + month.reltuples;
        else
            execute format('select count(*) from %s', month.name) into counted;
            total := total + counted;
        end if;
    end loop;
    foreach oldest in array
        array[now() - interval '1 month', now() - interval '6 months', '-infinity']::timestamptz[]
    loop
        select occurred_at into ended
        from events
        where occurred_at > oldest and occurred_at <= now()
        order by occurred_at desc
        offset floor(total / 1000)
        limit 1;
        exit when ended is not null;
    end loop;
    return ended;
end $$;

create function event_partition_name(moment timestamptz) returns text language sql immutable as $$
    select 'events_' || to_char(moment at time zone 'UTC', 'YYYY_MM')
$$;

-- Moves what the default partition holds of a month (UTC) into the month's own table, attached or not.
create function move_from_default(moment timestamptz) returns bigint language plpgsql as $$
declare
    first_moment timestamptz := date_trunc('month', moment, 'UTC');
    end_moment timestamptz := ((first_moment at time zone 'UTC') + interval '1 month') at time zone 'UTC';
    columns text := 'id, user_id, product_id, type, value, occurred_at, request_id, received_at';
    moved bigint;
begin
    execute format(
        'with moved as (delete from events_default where occurred_at >= $1 and occurred_at < $2 returning %1$s)
         insert into %2$I (%1$s) select %1$s from moved', columns, event_partition_name(moment))
        using first_moment, end_moment;
    get diagnostics moved = row_count;
    return moved;
end $$;

-- Takes one month (UTC) out of events, with what the default partition holds of it: afterwards all of it is in a table of
-- its own, which no query of ours reads. Returns whether it was attached until now, and how many rows were moved.
create function detach_event_partition(moment timestamptz, out detached boolean, out moved bigint)
language plpgsql as $$
declare
    name text := event_partition_name(moment);
begin
    perform pg_advisory_xact_lock(hashtext('shortlist.event_partitions'));
    if to_regclass(name) is null then
        select count(*) into moved
        from events_default
        where occurred_at >= date_trunc('month', moment, 'UTC')
            and occurred_at < ((date_trunc('month', moment, 'UTC') at time zone 'UTC') + interval '1 month') at time zone 'UTC';
        perform ensure_event_partition(moment);
    else
        moved := move_from_default(moment);
    end if;
    detached := exists (select from pg_inherits where inhparent = 'events'::regclass and inhrelid = to_regclass(name));
    if detached then
        execute format('alter table events detach partition %I', name);
    end if;
end $$;

-- Puts a detached month back, with what arrived for it meanwhile. Returns whether there was such a table to attach.
create function attach_event_partition(moment timestamptz) returns boolean language plpgsql as $$
declare
    name text := event_partition_name(moment);
    first_moment timestamptz := date_trunc('month', moment, 'UTC');
    end_moment timestamptz := ((first_moment at time zone 'UTC') + interval '1 month') at time zone 'UTC';
begin
    perform pg_advisory_xact_lock(hashtext('shortlist.event_partitions'));
    if to_regclass(name) is null
        or exists (select from pg_inherits where inhparent = 'events'::regclass and inhrelid = to_regclass(name))
    then
        return false;
    end if;
    lock table events_default in access exclusive mode;
    perform move_from_default(moment);
    execute format('alter table events attach partition %I for values from (%L) to (%L)', name, first_moment, end_moment);
    return true;
end $$;

-- The last run of each task of maintenance, for whoever runs it next and for whoever asks.
create table maintenance_tasks (
    name text primary key,
    started_at timestamptz not null,
    seconds double precision not null,
    error text,
    outcome jsonb not null default '{}'
);
