-- Durable domain events: messages of the ordinary PGMQ queue {namespace}_domain_events, written by the transaction that
-- accepts the result which they tell of. They are there if and only if that result is.

-- Makes the queue of a namespace's events unless it is there. Safe to call from many transactions at once.
create or replace function tasker.events_queue_create(p_namespace text) returns void
language plpgsql as $$
declare
    v_queue text := p_namespace || '_domain_events';
begin
    if to_regclass(format('pgmq.%I', 'q_' || v_queue)) is not null then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtextextended('tasker.namespaces', 0));
    perform pgmq.create(v_queue);
    -- PGMQ's own index on vt serves no query of it: it reads in the order of msg_id.
    execute format('drop index if exists pgmq.%I', 'q_' || v_queue || '_vt_idx');
    perform tasker.events_table_tune('q_' || v_queue);
end
$$;

-- How PostgreSQL is to keep a table of events: dead rows are cleared away soon, as consumers make many. Rows that were only
-- added are no reason to go through it, and nobody asks the planner about messages, which are most of what there is to sample.
create or replace function tasker.events_table_tune(p_table text) returns void
language plpgsql as $$
begin
    execute format('alter table pgmq.%I
                    set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_cost_delay = 0,
                         autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_scale_factor = 0.05),
                    alter column message set statistics 0', p_table);
end
$$;

-- Makes the function that inserts into the queue of one namespace; tasker.events_insert(namespace, events), which is made by
-- queue_dispatch, calls it. A statement made at every call would cost ten times as much to plan as to run.
create or replace function tasker.events_install(p_namespace text) returns void
language plpgsql as $install$
declare
    v_table text := format('pgmq.%I', 'q_' || p_namespace || '_domain_events');
begin
    perform tasker.events_queue_create(p_namespace);
    execute format($$
        create or replace function tasker.%I(p_events jsonb) returns void language plpgsql
        as $body$
        begin
            if to_regclass(%L) is null then                    -- somebody dropped it
                perform tasker.events_queue_create(%L);
            end if;
            -- Visible at once to every PGMQ client, all of which look at the real clock.
            insert into %s (vt, message) select clock_timestamp(), jsonb_array_elements(p_events);
        end
        $body$ $$, 'events_insert:' || p_namespace, v_table, p_namespace, v_table);
end
$install$;

-- Sends events of one namespace, in their order, one insert a queue: to that of the namespace, and to those that are bound
-- to their names. Every durable event goes this way. Returns whether a relay got one. p_events is one JSON array: to read
-- that costs less than to read its elements one by one.
create or replace function tasker.events_send(p_namespace text, p_events jsonb) returns boolean
language plpgsql as $$
begin
    perform tasker.events_insert(p_namespace, p_events);
    return tasker.events_route(p_namespace, p_events);
end
$$;

-- After an upgrade of this file, and for namespaces that were there before their events.
select tasker.events_install(name) from tasker.namespaces;

-- Of these steps, which ended without a result, writes down those whose template declares events.
create or replace function tasker.events_owe(p_steps uuid[], p_now timestamptz) returns void
language sql as $$
    insert into tasker.events_owed (step_uuid, attempt, error, at)
    select s.step_uuid, s.attempts, s.error, p_now
    from tasker.steps s
    join tasker.tasks t on t.task_uuid = s.task_uuid
    join tasker.templates m on m.template_id = t.template_id
    where s.step_uuid = any (p_steps) and exists (
        select from json_array_elements(m.content -> 'steps') d
        where d ->> 'name' = s.template_step and d -> 'publishes_events' is not null)
    on conflict do nothing
$$;
