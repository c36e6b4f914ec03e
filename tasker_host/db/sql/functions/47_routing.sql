-- Routing: durable events go to further queues by their names, in the transaction that sends them.
--
-- The key of an ordered queue is cut at 500 characters: it is indexed, and no event may be too long for that.
--
-- `events_route` is made from tasker.event_bindings whenever these change: one insert a queue whose plan is cached, and
-- nothing at all where nothing is bound. It returns whether a relay got something, so that its hosts can be woken.

-- One at a time: bindings and the function that is made of them belong together.
create or replace function tasker.events_routing() returns void
language plpgsql as $make$
declare
    v_inserts text;
begin
    perform pg_advisory_xact_lock(hashtextextended('tasker.event_bindings', 0));
    select string_agg(format($f$
            insert into pgmq.%I (vt, message, headers)
            select clock_timestamp(), e.event, %s
            from rows from (jsonb_array_elements(p_events), unnest(v_names)) with ordinality as e (event, name, position)
            where %s order by e.position;
            %s $f$,
            'q_' || queue,
            coalesce(format($h$case when e.event #>> %L is not null
                               then jsonb_build_object('x-pgmq-group', left(e.event #>> %L, 500)) end$h$, ordered_by, ordered_by), 'null'),
            matches, case when is_relay then 'v_relayed := v_relayed or found;' else '' end), e'\n' order by queue)
    into v_inserts
    from (
        select queue, max(string_to_array(ordered_by, '.')::text) as ordered_by, bool_or(relay is not null) as is_relay,
               '(' || string_agg(
                   format('e.name ~ %L', regex)
                   || case when namespaces = '{}' then '' else format(' and p_namespace = any (%L::text[])', namespaces) end,
                   ' or ' order by pattern) || ')'
               || case when queue like '%\_domain\_events' then format(' and p_namespace || ''_domain_events'' <> %L', queue) else '' end
               as matches
        from tasker.event_bindings group by queue
    ) bound;
    if v_inserts is null then
        execute $f$
            create or replace function tasker.events_route(p_namespace text, p_events jsonb) returns boolean
            language plpgsql as 'begin return false; end' $f$;
        return;
    end if;
    execute format($f$
        create or replace function tasker.events_route(p_namespace text, p_events jsonb) returns boolean
        language plpgsql as $body$
        declare
            v_relayed boolean := false;
            v_names text[] := array(select '.' || (e.event ->> 'event_name')
                                    from jsonb_array_elements(p_events) with ordinality as e (event, position) order by e.position);
        begin
            %s
            return v_relayed;
        exception when undefined_table then
            -- Somebody dropped one of the queues. It is made anew: the results that these events belong to must not wait.
            perform tasker.event_queue_create(b.queue, b.ordered_by is not null, b.relay is not null) from tasker.event_bindings b;
            return tasker.events_route(p_namespace, p_events);
        end
        $body$ $f$, v_inserts);
end
$make$;

-- Makes the queue of a binding or of a relay unless it is there.
create or replace function tasker.event_queue_create(p_queue text, p_ordered boolean, p_relay boolean) returns void
language plpgsql as $$
declare
    v_table text := 'q_' || p_queue;
begin
    if to_regclass(format('pgmq.%I', v_table)) is null then
        perform pgmq.create(p_queue);
        perform tasker.events_table_tune(v_table);
        execute format('alter table pgmq.%I set (fillfactor = 70)', v_table);
    end if;
    if p_ordered and to_regclass(format('pgmq.%I', v_table || '_key')) is null then
        execute format('create index %I on pgmq.%I ((headers ->> ''x-pgmq-group''), msg_id)', v_table || '_key', v_table);
        execute format('create index %I on pgmq.%I ((headers ->> ''x-pgmq-group'')) where read_ct > 0', v_table || '_begun', v_table);
    end if;
    if p_relay and to_regclass(format('pgmq.%I', v_table || '_due')) is null then
        -- By which a relay takes what is due, in the place of PGMQ's own, which has the time alone.
        execute format('create index %I on pgmq.%I (vt, msg_id)', v_table || '_due', v_table);
        execute format('drop index if exists pgmq.%I', v_table || '_vt_idx');
    end if;
    if p_relay and to_regclass(format('pgmq.%I', v_table || '_dead')) is null then
        perform pgmq.create(p_queue || '_dead');
    end if;
end
$$;

-- Binds exactly these for one owner: a relay, or with p_relay null the configuration. p_bindings is
-- [{"queue", "pattern", "regex", "namespaces", "ordered_by"}]. Returns what was bound before and is no longer:
-- `queue pattern` texts; null when nothing changed, which changes nothing and needs no rights to.
create or replace function tasker.bindings_set(p_relay text, p_bindings json) returns text[]
language plpgsql as $$
declare
    v_wanted jsonb;
    v_gone text[];
begin
    select coalesce(jsonb_agg(to_jsonb(w) order by w.queue, w.pattern), '[]') into v_wanted
    from json_to_recordset(p_bindings) as w (queue text, pattern text, regex text, namespaces text[], ordered_by text);
    -- Twice: without the lock for the usual start, at which nothing has changed, and again under it.
    for v_pass in 1 .. 2 loop
        if v_wanted = (
            select coalesce(jsonb_agg(to_jsonb(b) - 'relay' order by b.queue, b.pattern), '[]')
            from tasker.event_bindings b where b.relay is not distinct from p_relay
        ) and not exists (
            select from tasker.event_bindings b where b.relay is not distinct from p_relay
            and to_regclass(format('pgmq.%I', 'q_' || b.queue)) is null
        ) then
            return null;
        end if;
        perform pg_advisory_xact_lock(hashtextextended('tasker.event_bindings', 0));
    end loop;
    perform tasker.event_queue_create(w.queue, bool_or(w.ordered_by is not null), p_relay is not null)
    from jsonb_to_recordset(v_wanted) as w (queue text, ordered_by text) group by w.queue;
    with gone as (
        delete from tasker.event_bindings b where b.relay is not distinct from p_relay
        returning b.queue, b.pattern
    )
    select coalesce(array_agg(g.queue || ' ' || g.pattern order by g.queue, g.pattern), '{}') into v_gone
    from gone g
    where not exists (
        select from jsonb_to_recordset(v_wanted) as w (queue text, pattern text)
        where w.queue = g.queue and w.pattern = g.pattern);
    insert into tasker.event_bindings (queue, pattern, regex, namespaces, ordered_by, relay)
    select w.queue, w.pattern, w.regex, w.namespaces, w.ordered_by, p_relay
    from jsonb_to_recordset(v_wanted) as w (queue text, pattern text, regex text, namespaces text[], ordered_by text);
    perform tasker.events_routing();
    return v_gone;
end
$$;

-- After an upgrade of this file the function is made anew.
select tasker.events_routing();
