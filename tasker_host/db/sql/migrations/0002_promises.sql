-- What the promises of steps and tasks need: failures that are forgiven, priorities of steps, tags, limits, reruns.

-- The functions whose arguments or results change are made anew after the migrations.
drop type if exists tasker.claimed cascade;
drop function if exists tasker.steps_claim(text, text[], int, interval);
drop function if exists tasker.steps_take(text, text, timestamptz, timestamptz, int);
drop function if exists tasker.task_state(int, int, int, int, int);
drop function if exists tasker.tasks_submit(
    uuid[], int[], json[], smallint[], text[], json[], uuid[], uuid[], text[], text[], text[], timestamptz[], interval,
    text, text[], int, interval, boolean);
drop function if exists tasker.steps_finish(
    text, uuid[], uuid[], int[], text[], json[], float8[], interval[], json[], text[], int, interval, boolean);
do $$
declare
    v_old regprocedure;
begin
    for v_old in select oid::regprocedure from pg_proc
                 where pronamespace = 'tasker'::regnamespace and proname like 'queue\_%' loop
        execute 'drop function ' || v_old;
    end loop;
end
$$;

alter table tasker.templates
    add column on_failure text not null default 'block' check (on_failure in ('block', 'fail')),
    add column is_special boolean not null default false;    -- some of its steps have tags or a priority

alter table tasker.template_steps
    add column if_failed text check (if_failed in ('forgive', 'stop_batch')),
    add column priority smallint,
    add column tags text[];

-- The rules of all steps of a template, also of those that a task gets while it runs.
create table tasker.template_rules (
    template_id int not null references tasker.templates (template_id),
    name text not null,
    handler text not null,
    max_attempts int not null check (max_attempts >= 1),
    if_failed text check (if_failed in ('forgive', 'stop_batch')),
    priority smallint,
    tags text[],
    concurrency_limit int,                                 -- of its business key
    parallelism int,                                       -- of the instances of a batch worker
    primary key (template_id, name)
);

alter table tasker.tasks
    add column on_failure text not null default 'block',
    add column steps_forgiven int not null default 0,      -- in error, but counted as satisfied
    add column aging_us bigint not null default 0,         -- one level of a step's priority, in microseconds
    add column limit_keys json;                            -- business keys: {"*": of all steps, "name": of that step}

alter table tasker.steps
    add column if_failed text check (if_failed in ('forgive', 'stop_batch')),
    add column priority smallint,
    add column lane text,                                  -- tags that a worker must have, as a JSON array
    add column limit_keys text[],
    add column rate_at timestamptz,                        -- its turn, given by a rate limit
    add column made_by uuid;                               -- the decision or analyzer that added it

-- How many steps may run at once, and how many may start per second, by key:
--   namespace:{name}, handler:{callable}   set by operators; all steps that run are counted while such a row exists
--   key:{namespace}:{value}                business keys; batch:{analyzer}: parallelism; both come and go with their steps
create table tasker.limits (
    key text primary key,
    is_fixed boolean not null,
    max_running int check (max_running >= 0),
    per_second double precision check (per_second > 0),
    burst int not null default 1 check (burst >= 1),
    paused boolean not null default false,
    running int not null default 0,
    next_start_at timestamptz                              -- of the rate: when the next start is due at that pace
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index limits_fixed on tasker.limits (key) where is_fixed;

create table tasker.limit_history (
    key text not null,
    at timestamptz not null,
    change json not null,
    actor text,
    reason text
);
create index limit_history_of_key on tasker.limit_history (key, at);

-- Steps that are ready but wait for room under a limit; their messages are out of sight.
create table tasker.parked (
    step_uuid uuid primary key,
    task_uuid uuid not null,
    key text not null,
    rank bigint not null,
    namespace text not null,
    msg_id bigint not null,
    lane text
);
create index parked_by_key on tasker.parked (key, rank);
create index parked_of_task on tasker.parked (task_uuid);
create index steps_made_by on tasker.steps (made_by) where made_by is not null;
