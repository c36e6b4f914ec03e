-- For people: what relays do, their dead events, and sending events again.

-- The time that a text says; p_otherwise where it says none: anybody may have written it.
create or replace function tasker.moment(p_text text, p_otherwise timestamptz) returns timestamptz
language plpgsql stable as $$
begin
    return coalesce(p_text::timestamptz, p_otherwise);
exception when data_exception then
    return p_otherwise;
end
$$;

-- When an event happened, as it says itself; else p_otherwise.
create or replace function tasker.event_time(p_event jsonb, p_otherwise timestamptz) returns timestamptz
language sql stable as $$
    select tasker.moment(p_event #>> '{metadata,fired_at}', p_otherwise)
$$;

-- How many messages there are in a queue; none where somebody dropped it.
create or replace function tasker.queue_count(p_queue text) returns bigint
language plpgsql stable as $$
declare
    v_count bigint;
begin
    execute format('select count(*) from pgmq.%I', 'q_' || p_queue) into v_count;
    return v_count;
exception when undefined_table then
    return 0;
end
$$;

-- Every relay: its counts, and how many of its events wait (due, leased, for another try or behind others) and are dead.
-- Counts rows: for people, not for loops.
create or replace function tasker.relays_stats() returns setof json
language plpgsql stable as $$
declare
    v_relay tasker.relays;
    v_waiting record;
begin
    for v_relay in select * from tasker.relays order by name loop
        begin
            execute format('select count(*) as events, min(enqueued_at) as oldest, count(*) filter (where read_ct > 0) as begun
                            from pgmq.%I', 'q_' || v_relay.name || '_relay') into v_waiting;
        exception when undefined_table then
            -- Somebody dropped it, and it is made anew for the next event; or the relay is just being removed.
            select 0::bigint as events, null::timestamptz as oldest, 0::bigint as begun into v_waiting;
        end;
        return next json_build_object(
            'relay', v_relay.name, 'plugin', v_relay.plugin, 'events', v_relay.events, 'namespaces', v_relay.namespaces,
            'ordered_by', v_relay.ordered_by,
            'state', case when v_relay.stopped_at is not null then 'stopped'
                          when v_relay.hold_until > tasker.now() then 'held' else 'running' end,
            'stopped_at', v_relay.stopped_at, 'stopped_because', v_relay.stopped_because,
            'hold_until', case when v_relay.hold_until > tasker.now() then v_relay.hold_until end,
            'waiting', v_waiting.events, 'begun', v_waiting.begun, 'oldest_at', v_waiting.oldest,
            'dead_kept', tasker.queue_count(v_relay.name || '_relay_dead'),
            'delivered', v_relay.delivered, 'retried', v_relay.retried, 'dead', v_relay.dead,
            'last_delivered_at', v_relay.last_delivered_at, 'last_error', v_relay.last_error,
            'last_error_at', v_relay.last_error_at, 'seen_at', v_relay.seen_at);
    end loop;
end
$$;

-- Nothing of the relay is taken any more until it is resumed. False: there is none of that name.
create or replace function tasker.relay_stop(p_relay text, p_because text) returns boolean
language sql as $$
    update tasker.relays
    set stopped_at = coalesce(stopped_at, tasker.now()),
        stopped_because = coalesce(nullif(p_because, ''), stopped_because, 'paused by hand')
    where name = p_relay returning true
$$;

create or replace function tasker.relay_resume(p_relay text) returns boolean
language sql as $$
    update tasker.relays set stopped_at = null, stopped_because = null, hold_until = null where name = p_relay returning true
$$;

-- Ends a relay that no plugin gives any more: it gets no further events and its queues are dropped with all that is in them.
-- Returns how many events that were, dead ones included; null when there is no such relay. Without p_force it does nothing
-- when there are some.
create or replace function tasker.relay_remove(p_relay text, p_force boolean) returns bigint
language plpgsql as $$
declare
    v_left bigint;
begin
    perform from tasker.relays where name = p_relay for update;
    if not found then
        return null;
    end if;
    v_left := tasker.queue_count(p_relay || '_relay') + tasker.queue_count(p_relay || '_relay_dead');
    if v_left > 0 and not p_force then
        return v_left;
    end if;
    perform tasker.bindings_set(p_relay, '[]');
    delete from tasker.relays where name = p_relay;
    perform pgmq.drop_queue(p_relay || '_relay');
    perform pgmq.drop_queue(p_relay || '_relay_dead');
    return v_left;
end
$$;

-- Sends events again that match p_filter: {"regex" of names, "namespace", "task_uuid", "event_id", "since", "until"}, each of
-- which may be left out. p_source is
--   dead      events that relays gave up (of p_relay, or of all): they go back to their relay, their attempts counted anew
--   archive   events that consumers archived, of p_queue or of the events of every namespace: to p_relay, or, where that is
--             null, back to the queue that they came from, in place of the archive
--   queue     events that wait in these queues: to p_relay, and they stay
-- An event that waits for a relay already is not given to it twice. With p_dry nothing is changed. Up to p_limit events of
-- each queue, those first that were sent first; returns what is or would be sent, with what is known of the dead ones.
create or replace function tasker.events_replay(
    p_source text, p_relay text, p_queue text, p_filter json, p_limit int, p_dry boolean
) returns table (
    event_id text, event_name text, namespace text, task_uuid text, fired_at timestamptz, source text, target text,
    attempts int, error text, died_at timestamptz
)
language plpgsql as $$
#variable_conflict use_column
declare
    v_one record;
    v_chosen text;
    -- As tasker.events_route writes it: an event that is sent again is of the same key as those that are new.
    v_keyed text := $h$case when m.message #>> %1$L is not null
                       then jsonb_build_object('x-pgmq-group', left(m.message #>> %1$L, 500)) end$h$;
begin
    if not p_dry then
        perform tasker.event_queue_create(r.name || '_relay', r.ordered_by is not null, true)
        from tasker.relays r where r.name = p_relay or (p_source = 'dead' and p_relay is null);
    end if;
    for v_one in
        select 'q_' || r.name || '_relay_dead' as from_table, 'q_' || r.name || '_relay' as to_table, true as moves,
               r.name || '_relay_dead' as from_name, r.name as to_name, format(v_keyed, string_to_array(r.ordered_by, '.')) as headers
        from tasker.relays r where p_source = 'dead' and (p_relay is null or r.name = p_relay)
        union all
        select case when p_source = 'archive' then 'a_' else 'q_' end || q.name,
               'q_' || coalesce(p_relay || '_relay', q.name), p_relay is null, q.name, coalesce(p_relay, q.name),
               case when p_relay is null then 'm.headers' else format(v_keyed, string_to_array(r.ordered_by, '.')) end
        from (select p_queue as name where p_queue is not null
              union all select n.name || '_domain_events' from tasker.namespaces n where p_queue is null) q
        left join tasker.relays r on r.name = p_relay
        where p_source in ('archive', 'queue')
        order by 1
    loop
        continue when to_regclass(format('pgmq.%I', v_one.from_table)) is null or (
            v_one.moves and to_regclass(format('pgmq.%I', v_one.to_table)) is null);
        v_chosen := format($f$
            select m.* from pgmq.%I m
            where ($1 ->> 'regex' is null or '.' || (m.message ->> 'event_name') ~ ($1 ->> 'regex'))
              and ($1 ->> 'namespace' is null or m.message #>> '{metadata,namespace}' = $1 ->> 'namespace')
              and ($1 ->> 'task_uuid' is null or m.message #>> '{metadata,task_uuid}' = $1 ->> 'task_uuid')
              and ($1 ->> 'event_id' is null or m.message ->> 'event_id' = $1 ->> 'event_id')
              and ($1 ->> 'since' is null or tasker.event_time(m.message, m.enqueued_at) >= ($1 ->> 'since')::timestamptz)
              and ($1 ->> 'until' is null or tasker.event_time(m.message, m.enqueued_at) < ($1 ->> 'until')::timestamptz)
              %s %s
            order by m.msg_id limit $2 %s $f$,
            v_one.from_table,
            -- What others sent there, and consumers put aside, is no event, and would only be put aside again.
            case when p_source = 'dead' then '' else 'and m.message ->> ''event_name'' is not null' end,
            case when v_one.moves or to_regclass(format('pgmq.%I', v_one.to_table)) is null then '' else format(
                'and m.message ->> ''event_id'' not in (select w.message ->> ''event_id'' from pgmq.%I w
                 where w.message ->> ''event_id'' is not null)', v_one.to_table) end,
            case when v_one.moves and not p_dry then 'for update' else '' end);
        return query execute format($f$
            with chosen as materialized (%s)%s
            select m.message ->> 'event_id', m.message ->> 'event_name', m.message #>> '{metadata,namespace}',
                   m.message #>> '{metadata,task_uuid}', tasker.event_time(m.message, m.enqueued_at), $3, $4,
                   case when m.headers ->> 'attempts' ~ '^\d{1,9}$' then (m.headers ->> 'attempts')::int end,
                   m.headers ->> 'error', tasker.moment(m.headers ->> 'died_at', null)
            from chosen m order by m.msg_id $f$,
            v_chosen,
            case when p_dry then '' else format($f$, gone as (
                delete from pgmq.%I q using chosen m where q.msg_id = m.msg_id and $5 returning 1
            ), sent as (
                insert into pgmq.%I (vt, message, headers)
                select clock_timestamp(), m.message, %s from chosen m order by m.msg_id
            )$f$, v_one.from_table, v_one.to_table, v_one.headers) end)
        using p_filter, p_limit, v_one.from_name, v_one.to_name, v_one.moves;
    end loop;
end
$$;
