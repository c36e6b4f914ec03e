-- Where durable events go beside {namespace}_domain_events: queues bound to patterns of names, and relays, which carry
-- them out of the database.

create table tasker.event_bindings (
    queue text not null,
    pattern text not null,                   -- as it was written: payment.*, #
    regex text not null,                     -- the names that it matches
    namespaces text[] not null default '{}', -- only events of tasks of these; none: of all
    ordered_by text,                         -- where in an event the key is by which the queue is ordered: payload.order_id
    relay text,                              -- whose queue it is; null: bound by configuration
    primary key (queue, pattern)
);

create table tasker.relays (
    name text primary key,
    plugin text not null,
    events text[] not null,
    namespaces text[] not null,
    ordered_by text,
    created_at timestamptz not null,
    seen_at timestamptz not null,            -- when a host that runs it last said so
    delivered bigint not null default 0,
    retried bigint not null default 0,       -- deliveries that failed and are tried again
    dead bigint not null default 0,          -- events that were given up
    last_delivered_at timestamptz,
    last_error text,
    last_error_at timestamptz,
    stopped_at timestamptz,                  -- nothing is taken until it is resumed
    stopped_because text,
    hold_until timestamptz                   -- nothing is taken before: the target asked for it
) with (fillfactor = 50);

-- What consumers outside the host have done, by the name that they call themselves.
create table tasker.consumed_events (
    consumer text not null,
    event_id text not null,
    consumed_at timestamptz not null default now(),
    primary key (consumer, event_id)
);
create index consumed_events_at on tasker.consumed_events (consumed_at);
