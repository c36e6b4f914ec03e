-- Relays: what carries durable events out of the database. Each has the PGMQ queue {relay}_relay, to which its events are
-- written by the transaction that sends them, and {relay}_relay_dead for those that were given up.
--
--   due        vt has passed: new, or its wait for another try is over, or whoever had it was not heard of any more
--   leased     vt is in the future; read_ct counts the deliveries begun, and fences: what a host says of a delivery counts
--              only while the event's read_ct is that of this delivery
--   parked     vt is infinity: in an ordered queue, behind an earlier event of the same key
--
-- In an ordered queue (headers carry x-pgmq-group, PGMQ's own name for the key) an event is taken only when no other of its
-- key was begun and none is earlier; others that are found due are parked, and the first of them is made due when the one
-- before is delivered or dead. Takers and finishers of one ordered relay go one at a time, by its row in tasker.relays.

-- Says that a relay is run, and which events it is to be given. p_relay is {"name", "plugin", "events", "namespaces",
-- "ordered_by", "bindings": as of bindings_set}. Returns whether it is bound to other events than before.
create or replace function tasker.relay_register(p_relay json) returns boolean
language plpgsql as $$
declare
    v_relay record;
    v_gone text[];
    v_was_ordered boolean;
begin
    select * into v_relay from json_to_record(p_relay) as r (
        name text, plugin text, events text[], namespaces text[], ordered_by text, bindings json);
    v_was_ordered := exists (select from tasker.relays r where r.name = v_relay.name and r.ordered_by is not null);
    insert into tasker.relays as r (name, plugin, events, namespaces, ordered_by, created_at, seen_at)
    values (v_relay.name, v_relay.plugin, v_relay.events, v_relay.namespaces, v_relay.ordered_by, tasker.now(), tasker.now())
    on conflict (name) do update
    set plugin = excluded.plugin, events = excluded.events, namespaces = excluded.namespaces,
        ordered_by = excluded.ordered_by, seen_at = excluded.seen_at;
    v_gone := tasker.bindings_set(v_relay.name, v_relay.bindings);
    perform tasker.event_queue_create(v_relay.name || '_relay', v_relay.ordered_by is not null, true);
    if v_was_ordered and v_relay.ordered_by is null then
        -- Nobody would ever make due what waits behind others.
        execute format('update pgmq.%I set vt = $1 where vt = %L', 'q_' || v_relay.name || '_relay', 'infinity') using tasker.now();
    end if;
    return v_gone is not null;
end
$$;

-- One round of a host that runs a relay: what became of deliveries, and up to p_want events to deliver next. p_kind is
--   delivered   the event is gone
--   retried     it comes again after p_after
--   held        the same, and nothing else is taken before: the target asked for that
--   dead        it goes to the dead ones, with p_error
--   gone        the same, and the relay is stopped: its target said that it is to get nothing any more
--   released    it was not tried: it is due at once and this try does not count
-- The last row has no event; its summary is {"next_due": seconds until there may be something, "stopped": why nothing is
-- taken, "removed": whether there is no such relay any more, "superseded": [messages that were no longer ours]}.
create or replace function tasker.relay_round(
    p_relay text, p_message bigint[], p_attempt int[], p_kind text[], p_after interval[], p_error text[], p_want int,
    p_lease interval
) returns table (msg_id bigint, attempt int, event text, summary json)
language plpgsql
set jit = off
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_relay tasker.relays;
    v_table text := 'q_' || p_relay || '_relay';
    v_settled record;
    v_done bigint[];             -- of p_message, those that were still ours
    v_free bigint[];             -- in an ordered queue: what may be taken
    v_blocked bigint[];          -- and what is behind another of its key
    v_got int := 0;
    v_more int;
    v_looked int;
    v_next timestamptz;
    v_window int := greatest(p_want * 4, 50);
begin
    if cardinality(p_message) > 0 then
        select * into v_relay from tasker.relays r where r.name = p_relay for no key update;
    else
        select * into v_relay from tasker.relays r where r.name = p_relay;
        if v_relay.ordered_by is not null then
            select * into v_relay from tasker.relays r where r.name = p_relay for no key update;
        end if;
    end if;
    if v_relay.name is null then
        return query select null::bigint, null::int, null::text, json_build_object('removed', true);
        return;
    end if;

    if cardinality(p_message) > 0 then
        execute format($f$
            with said as (
                select * from unnest($1, $2, $3, $4, $5) as s (msg_id, attempt, kind, after, error)
            ), ended as (
                delete from pgmq.%1$I q using said s
                where q.msg_id = s.msg_id and q.read_ct = s.attempt and s.kind in ('delivered', 'dead', 'gone')
                returning q.msg_id, q.enqueued_at, q.message, q.headers, s.kind, s.attempt, s.error
            ), buried as (
                insert into pgmq.%2$I (vt, message, headers)
                select $6, message, coalesce(headers, '{}') || jsonb_build_object(
                    'relay', $7, 'attempts', attempt, 'error', error, 'died_at', $6, 'sent_at', enqueued_at)
                from ended where kind <> 'delivered' order by msg_id
            ), kept as (
                update pgmq.%1$I q
                set vt = case when s.kind = 'released' then $6 else $6 + s.after end,
                    read_ct = q.read_ct - (s.kind = 'released')::int,
                    headers = case when s.kind = 'released' then q.headers
                              else coalesce(q.headers, '{}') || jsonb_build_object('error', s.error) end
                from said s
                where q.msg_id = s.msg_id and q.read_ct = s.attempt and s.kind in ('retried', 'held', 'released')
                returning q.msg_id, null::jsonb as headers, s.kind, s.after, s.error
            ), counted as (
                select msg_id, headers, kind, null::interval as after, error from ended union all select * from kept
            )
            select count(*) filter (where kind = 'delivered') as delivered,
                   count(*) filter (where kind in ('retried', 'held')) as retried,
                   count(*) filter (where kind in ('dead', 'gone')) as dead,
                   max(error) filter (where kind = 'gone') as gone,
                   max(after) filter (where kind = 'held') as held,
                   max(error) as error,
                   array_agg(distinct headers ->> 'x-pgmq-group') filter (where headers ->> 'x-pgmq-group' is not null) as keys,
                   array_agg(msg_id) as settled
            from counted $f$, v_table, v_table || '_dead')
        into v_settled using p_message, p_attempt, p_kind, p_after, p_error, v_now, p_relay;
        v_done := v_settled.settled;
        if v_settled.keys is not null then
            execute format($f$
                update pgmq.%1$I q set vt = $2
                from unnest($1) as k (key)
                cross join lateral (
                    select w.msg_id from pgmq.%1$I w where w.headers ->> 'x-pgmq-group' = k.key order by w.msg_id limit 1) first
                where q.msg_id = first.msg_id and q.vt = 'infinity' $f$, v_table)
            using v_settled.keys, v_now;
        end if;
        update tasker.relays r
        set delivered = r.delivered + v_settled.delivered, retried = r.retried + v_settled.retried,
            dead = r.dead + v_settled.dead,
            last_delivered_at = case when v_settled.delivered > 0 then v_now else r.last_delivered_at end,
            last_error = coalesce(v_settled.error, r.last_error),
            last_error_at = case when v_settled.error is null then r.last_error_at else v_now end,
            stopped_at = case when v_settled.gone is null then r.stopped_at else coalesce(r.stopped_at, v_now) end,
            stopped_because = coalesce(r.stopped_because, v_settled.gone),
            hold_until = greatest(r.hold_until, v_now + v_settled.held)
        where r.name = p_relay
        returning r.* into v_relay;
    end if;

    if v_relay.stopped_at is null and p_want > 0 and coalesce(v_relay.hold_until, v_now) <= v_now then
        if v_relay.ordered_by is null then
            return query execute format($f$
                with picked as materialized (
                    select w.msg_id from pgmq.%1$I w where w.vt <= $1 order by w.vt, w.msg_id limit $2 for update skip locked
                )
                update pgmq.%1$I q set vt = $1 + $3, read_ct = q.read_ct + 1, last_read_at = $1
                from picked where q.msg_id = picked.msg_id
                returning q.msg_id, q.read_ct, q.message::text, null::json $f$, v_table)
            using v_now, p_want, p_lease;
        else
            for v_pass in 1 .. 20 loop
                execute format($f$
                    select array_agg(j.msg_id order by j.vt, j.msg_id) filter (where j.is_free),
                           array_agg(j.msg_id) filter (where not j.is_free), count(*)
                    from (
                        select d.msg_id, d.vt, d.key is null or d.read_ct > 0 or not (
                            exists (select from pgmq.%1$I w where w.headers ->> 'x-pgmq-group' = d.key and w.msg_id < d.msg_id)
                            or exists (select from pgmq.%1$I w where w.headers ->> 'x-pgmq-group' = d.key and w.read_ct > 0)
                        ) as is_free
                        from (select w.msg_id, w.read_ct, w.vt, w.headers ->> 'x-pgmq-group' as key from pgmq.%1$I w
                              where w.vt <= $1 order by w.vt, w.msg_id limit $2) d
                    ) j $f$, v_table)
                into v_free, v_blocked, v_looked using v_now, v_window;
                if v_blocked is not null then
                    execute format($f$update pgmq.%I q set vt = 'infinity' where q.msg_id = any ($1)$f$, v_table) using v_blocked;
                end if;
                return query execute format($f$
                    update pgmq.%I q set vt = $1 + $3, read_ct = q.read_ct + 1, last_read_at = $1
                    where q.msg_id = any ($2)
                    returning q.msg_id, q.read_ct, q.message::text, null::json $f$, v_table)
                using v_now, v_free[:p_want - v_got], p_lease;
                get diagnostics v_more = row_count;
                v_got := v_got + v_more;
                exit when v_got >= p_want or v_looked < v_window;
                v_window := least(v_window * 2, 1000);
            end loop;
        end if;
    end if;

    execute format('select w.vt from pgmq.%I w where w.vt < ''infinity'' order by w.vt limit 1', v_table) into v_next;
    return query select null::bigint, null::int, null::text, json_build_object(
        'next_due', case when v_next is not null then extract(epoch from greatest(v_next, v_relay.hold_until) - v_now) end,
        'stopped', v_relay.stopped_because,
        'superseded', array(select m from unnest(p_message) m where m <> all (coalesce(v_done, '{}'))));
end
$$;

-- Pushes out the leases of deliveries under way; the messages of those that are still ours.
create or replace function tasker.relay_renew(p_relay text, p_message bigint[], p_attempt int[], p_lease interval)
returns bigint[]
language plpgsql as $$
declare
    v_ours bigint[];
begin
    execute format($f$
        with renewed as (
            update pgmq.%I q set vt = $3 + $4 from unnest($1, $2) as h (msg_id, attempt)
            where q.msg_id = h.msg_id and q.read_ct = h.attempt returning q.msg_id
        )
        select array_agg(msg_id) from renewed $f$, 'q_' || p_relay || '_relay')
    into v_ours using p_message, p_attempt, tasker.now(), p_lease;
    return coalesce(v_ours, '{}');
end
$$;

-- Makes the first event of a key due behind which all wait though nothing is before them: somebody else, an operator with
-- a PGMQ client, took away the one that was. Reads the whole queue: for now and then. Says that the relay is run.
create or replace function tasker.relay_tidy(p_relay text) returns int
language plpgsql as $$
declare
    v_freed int := 0;
    v_relay tasker.relays;
begin
    update tasker.relays r set seen_at = tasker.now() where r.name = p_relay returning * into v_relay;
    if v_relay.ordered_by is not null then
        execute format($f$
            update pgmq.%1$I q set vt = $1 where q.msg_id in (
                select min(w.msg_id) from pgmq.%1$I w where w.headers ->> 'x-pgmq-group' is not null
                group by w.headers ->> 'x-pgmq-group' having bool_and(w.vt = 'infinity')) $f$, 'q_' || p_relay || '_relay')
        using tasker.now();
        get diagnostics v_freed = row_count;
    end if;
    return v_freed;
end
$$;
