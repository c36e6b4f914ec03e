-- The living fleet. Unlogged: what is lost in a crash of the server tells again within seconds.
create unlogged table tasker.workers (
    worker text primary key,                 -- as in leases and history: never the same for two starts
    name text not null,                      -- worker.id, or made of the host and process
    host text not null,
    pid int not null,
    since timestamptz not null,
    seen_at timestamptz not null,
    beats_every interval not null,
    version text not null,
    state text not null,                     -- running, shedding, draining
    slots int not null,
    running int not null,
    abandoned_threads int not null,
    tags text[] not null,
    namespaces text[] not null,
    unserved json not null                   -- [{"template_id", "step"}] that it was given and has no handler for
);
