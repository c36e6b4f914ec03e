-- Queues. Each namespace owns the PGMQ queue {namespace}_queue, an ordinary one: any PGMQ client sees its depth, reads
-- or archives it. A message is {task_uuid, step_uuid} and lives while its step is queued, leased or waits for a due time.
--
--   ready      headers carry "rank", and "lane" when its step asks for tags; found by an ordered scan of the index on rank
--   not ready  no rank: leased, waiting for a backoff or a start; found by vt once that has passed
--
-- Table names cannot be parameters of a cached plan, and planning afresh costs more than running. So each namespace
-- gets its own four small functions, made here, whose plans are cached like those of any other function:
--
--   queue_apply:{ns}   delete, delay, make ready and insert messages
--   queue_take:{ns}    lease up to n messages: first those that came due, then by rank
--   queue_renew:{ns}   push leases out
--   queue_next:{ns}    when the next message comes due, and the rank of the first one that is ready
--
-- queue_apply, queue_take, queue_renew and queue_next (without a suffix) call those of the namespace that they are given,
-- and so does events_insert (48_events.sql).
-- They are made here too, a branch for each namespace: `execute` would parse and plan its call every time, which takes
-- longer than the call.
--
-- Statistics of a queue are often taken while it is empty. So what is picked is picked once, in a CTE: as the inner side of
-- a join it would be picked again for every row of the other, more of it each time. And messages are found by `between`,
-- for which only their index serves: by `=`, a queue that seems empty would be read whole and compared with each.

-- One at a time: this file, and every new namespace, replaces functions that are common to all.
select pg_advisory_xact_lock(hashtextextended('tasker.namespaces', 0));

-- The step a message is about; null for what another client put into the queue.
create or replace function tasker.message_step(p_message jsonb) returns uuid
language sql immutable parallel safe as $$
    select case when p_message ->> 'step_uuid' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                then (p_message ->> 'step_uuid')::uuid end
$$;

-- Headers of a message: none while it is not ready.
create or replace function tasker.queue_headers(p_rank bigint, p_lane text) returns jsonb
language sql stable parallel safe as $$
    select case when p_rank is null then null
                when p_lane is null then jsonb_build_object('rank', p_rank)
                else jsonb_build_object('rank', p_rank, 'lane', p_lane) end
$$;

-- Whether a worker with these tags (null: it takes everything) may take what is in this lane.
create or replace function tasker.queue_fits(p_lane text, p_tags text[]) returns boolean
language sql immutable parallel safe as $$
    select p_tags is null or p_lane is null
           or array(select jsonb_array_elements_text(p_lane::jsonb)) <@ p_tags
$$;

create or replace function tasker.queue_install(p_namespace text) returns void
language plpgsql as $install$
declare
    v_queue text := p_namespace || '_queue';
    v_table text := format('pgmq.%I', 'q_' || v_queue);
begin
    execute format($$
        create or replace function tasker.%I(
            p_delete bigint[],
            p_delay bigint[], p_delay_until timestamptz[],
            p_ready bigint[], p_ready_rank bigint[], p_ready_lane text[], p_now timestamptz,
            p_insert bigint[], p_insert_task uuid[], p_insert_step uuid[], p_insert_vt timestamptz[], p_insert_rank bigint[],
            p_insert_lane text[]
        ) returns void language plpgsql
        as $body$
        begin
            if p_delete is not null then
                delete from %s where msg_id = any (p_delete);
            end if;
            if p_delay is not null then
                update %s q set vt = d.until, headers = null
                from unnest(p_delay, p_delay_until) as d (msg_id, until) where q.msg_id between d.msg_id and d.msg_id;
            end if;
            if p_ready is not null then
                update %s q set vt = p_now, headers = tasker.queue_headers(r.rank, r.lane)
                from unnest(p_ready, p_ready_rank, p_ready_lane) as r (msg_id, rank, lane) where q.msg_id between r.msg_id and r.msg_id;
            end if;
            if p_insert is not null then
                insert into %s (msg_id, vt, message, headers) overriding system value
                select i.msg_id, i.vt, jsonb_build_object('task_uuid', i.task_uuid, 'step_uuid', i.step_uuid),
                       tasker.queue_headers(i.rank, i.lane)
                from unnest(p_insert, p_insert_task, p_insert_step, p_insert_vt, p_insert_rank, p_insert_lane)
                    as i (msg_id, task_uuid, step_uuid, vt, rank, lane);
            end if;
        end
        $body$ $$, 'queue_apply:' || p_namespace, v_table, v_table, v_table, v_table);

    execute format($$
        create or replace function tasker.%I(p_now timestamptz, p_until timestamptz, p_limit int, p_tags text[])
        returns table (msg_id bigint, step_uuid uuid, was_due boolean) language plpgsql
        as $body$
        declare
            v_taken int;
            v_more int;
            v_lane text;
        begin
            return query
                with picked as materialized (
                    select w.msg_id from %s w
                    where w.vt <= p_now and (w.headers -> 'rank') is null
                    order by w.vt limit p_limit for update skip locked
                )
                update %s q set vt = p_until, read_ct = q.read_ct + 1, last_read_at = p_now
                from picked where q.msg_id between picked.msg_id and picked.msg_id
                returning q.msg_id, tasker.message_step(q.message), true;
            get diagnostics v_taken = row_count;
            if p_tags is not null then
                -- Lane by lane: what others are to take is not even looked at.
                for v_lane in
                    with recursive lane as (
                        (select coalesce(w.headers ->> 'lane', '') as name from %s w where (w.headers -> 'rank') is not null
                         order by coalesce(w.headers ->> 'lane', '') limit 1)
                        union all
                        select (select coalesce(w.headers ->> 'lane', '') from %s w
                                where (w.headers -> 'rank') is not null and coalesce(w.headers ->> 'lane', '') > lane.name
                                order by coalesce(w.headers ->> 'lane', '') limit 1)
                        from lane where lane.name is not null
                    )
                    select l.name from lane l
                    cross join lateral (
                        select (w.headers -> 'rank')::bigint as rank from %s w
                        where (w.headers -> 'rank') is not null and coalesce(w.headers ->> 'lane', '') = l.name
                        order by ((w.headers -> 'rank')::bigint) limit 1) first
                    where l.name is not null and tasker.queue_fits(nullif(l.name, ''), p_tags)
                    order by first.rank
                loop
                    exit when v_taken >= p_limit;
                    return query
                        with picked as materialized (
                            select w.msg_id from %s w
                            where (w.headers -> 'rank') is not null and coalesce(w.headers ->> 'lane', '') = v_lane
                            order by ((w.headers -> 'rank')::bigint) limit p_limit - v_taken for update skip locked
                        )
                        update %s q set vt = p_until, headers = null, read_ct = q.read_ct + 1, last_read_at = p_now
                        from picked where q.msg_id between picked.msg_id and picked.msg_id
                        returning q.msg_id, tasker.message_step(q.message), false;
                    get diagnostics v_more = row_count;
                    v_taken := v_taken + v_more;
                end loop;
            elsif v_taken < p_limit then
                return query
                    with picked as materialized (
                        select w.msg_id from %s w
                        where (w.headers -> 'rank') is not null
                        order by ((w.headers -> 'rank')::bigint) limit p_limit - v_taken for update skip locked
                    )
                    update %s q set vt = p_until, headers = null, read_ct = q.read_ct + 1, last_read_at = p_now
                    from picked where q.msg_id between picked.msg_id and picked.msg_id
                    returning q.msg_id, tasker.message_step(q.message), false;
            end if;
        end
        $body$ $$, 'queue_take:' || p_namespace, v_table, v_table, v_table, v_table, v_table, v_table, v_table, v_table, v_table);

    -- Locked messages are skipped: a finish that is deleting one must not wait for a renewal that waits for the finish.
    execute format($$
        create or replace function tasker.%I(p_messages bigint[], p_until timestamptz) returns void language sql
        as $body$
            with held as materialized (
                select w.msg_id from %s w where w.msg_id = any (p_messages) for update skip locked
            )
            update %s q set vt = p_until from held where q.msg_id between held.msg_id and held.msg_id
        $body$ $$, 'queue_renew:' || p_namespace, v_table, v_table);

    execute format($$
        create or replace function tasker.%I(out next_due timestamptz, out first_rank bigint) language plpgsql
        as $body$
        begin
            next_due := (select w.vt from %s w where (w.headers -> 'rank') is null order by w.vt limit 1);
            first_rank := (select (w.headers -> 'rank')::bigint from %s w where (w.headers -> 'rank') is not null
                           order by ((w.headers -> 'rank')::bigint) limit 1);
        end
        $body$ $$, 'queue_next:' || p_namespace, v_table, v_table);
end
$install$;

-- Makes the functions that call those of the namespaces anew.
create or replace function tasker.queue_dispatch() returns void
language plpgsql as $dispatch$
declare
    v_one record;
    v_branches text;
begin
    for v_one in
        select * from (values
            ('queue_apply',
             'p_delete bigint[], p_delay bigint[], p_delay_until timestamptz[], p_ready bigint[], p_ready_rank bigint[],
              p_ready_lane text[], p_now timestamptz, p_insert bigint[], p_insert_task uuid[], p_insert_step uuid[],
              p_insert_vt timestamptz[], p_insert_rank bigint[], p_insert_lane text[]',
             'void', 'perform tasker.%I($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)'),
            ('queue_take', 'p_now timestamptz, p_until timestamptz, p_limit int, p_tags text[]',
             'table (msg_id bigint, step_uuid uuid, was_due boolean)', 'return query select * from tasker.%I($2, $3, $4, $5)'),
            ('queue_renew', 'p_messages bigint[], p_until timestamptz', 'void', 'perform tasker.%I($2, $3)'),
            ('queue_next', 'out next_due timestamptz, out first_rank bigint', 'record',
             'select q.next_due, q.first_rank into next_due, first_rank from tasker.%I() q'),
            ('events_insert', 'p_events jsonb', 'void', 'perform tasker.%I($2)')
        ) as f (name, arguments, returns, call)
    loop
        select string_agg(format('when %L then ' || v_one.call || ';', n.name, v_one.name || ':' || n.name), e'\n' order by n.name)
        into v_branches from tasker.namespaces n;
        execute format($$
            create or replace function tasker.%I(p_namespace text, %s) returns %s language plpgsql as $body$
            #variable_conflict use_column
            begin
                %s
            end
            $body$ $$, v_one.name, v_one.arguments, v_one.returns,
            case when v_branches is not null then format(
                'case p_namespace %s else raise exception ''no namespace %%'', p_namespace; end case;', v_branches) end);
    end loop;
end
$dispatch$;

-- Creates the namespace and its queues unless they exist. Safe to call from many hosts at once.
create or replace function tasker.namespace_create(p_namespace text) returns void
language plpgsql as $$
declare
    v_queue text := p_namespace || '_queue';
    v_table text := 'q_' || v_queue;
begin
    if exists (select from tasker.namespaces where name = p_namespace) then
        return;
    end if;
    -- One at a time: the functions that call those of every namespace are made anew.
    perform pg_advisory_xact_lock(hashtextextended('tasker.namespaces', 0));
    if exists (select from tasker.namespaces where name = p_namespace) then
        return;
    end if;
    perform pgmq.create(v_queue);
    -- PGMQ's own index on vt serves no query of ours or its own (pgmq.read compares vt with a volatile function).
    execute format('drop index if exists pgmq.%I', v_table || '_vt_idx');
    execute format('create index if not exists %I on pgmq.%I (((headers -> ''rank'')::bigint)) where (headers -> ''rank'') is not null',
                   v_table || '_ready', v_table);
    execute format('create index if not exists %I on pgmq.%I (vt) where (headers -> ''rank'') is null',
                   v_table || '_due', v_table);
    execute format('alter table pgmq.%I set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01,
                    autovacuum_vacuum_threshold = 50, autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.05)',
                   v_table);
    perform tasker.queue_install(p_namespace);
    perform tasker.events_install(p_namespace);
    insert into tasker.namespaces (name, queue_sequence)
    values (p_namespace, pg_get_serial_sequence(format('pgmq.%I', v_table), 'msg_id')::regclass);
    perform tasker.queue_dispatch();
end
$$;

-- The index by which workers with tags find what they may take; made when the first of them starts.
create or replace function tasker.queue_lanes(p_namespace text) returns void
language plpgsql as $$
declare
    v_table text := 'q_' || p_namespace || '_queue';
begin
    if to_regclass(format('pgmq.%I', v_table || '_lane')) is null then
        perform pg_advisory_xact_lock(hashtextextended('tasker.namespaces', 0));
        execute format($f$create index if not exists %I on pgmq.%I ((coalesce(headers ->> 'lane', '')),
                       ((headers -> 'rank')::bigint)) where (headers -> 'rank') is not null$f$, v_table || '_lane', v_table);
    end if;
end
$$;

-- Messages of one queue: ready to be taken, and leased or waiting for a time. Counts rows: for people, not for loops.
create or replace function tasker.queue_depth(p_namespace text, out ready bigint, out waiting bigint)
language plpgsql stable as $$
begin
    execute format('select count(*) filter (where (headers -> ''rank'') is not null),
                           count(*) filter (where (headers -> ''rank'') is null) from pgmq.%I',
                   'q_' || p_namespace || '_queue') into ready, waiting;
end
$$;

-- After an upgrade of this file the functions of existing namespaces are made anew.
select tasker.queue_install(name) from tasker.namespaces;
select tasker.queue_dispatch();
