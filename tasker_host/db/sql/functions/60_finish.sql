-- Finishing: applies outcomes, readies successors and takes the next steps for the same worker, in one transaction.
--
-- Parallel arrays, one element per outcome; p_kind is
--   succeeded   p_value is the step's value
--   failed      p_value is the error; with p_retry_after the step waits that long and is tried again, else it is in error
--   released    given back without having run to its end: the attempt does not count, another worker takes it at once,
--               or after p_retry_after
--
-- p_expand are the steps that a succeeded decision or analyzer adds (see steps_expand). While its task is paused, what a
-- step comes to is kept in enqueued_for_orchestration or enqueued_as_error_for_orchestration; once its task is over, a
-- failure is final.
--
-- p_events are durable events (see events_send), p_event_of gives the position of the outcome of each; null when there are
-- none, which costs nothing. Those of an outcome that does not count are not sent; nor are those of a failure that was to
-- be tried again while its task is over or its batch stopped: it is written down in tasker.events_owed and listed in `final`.
--
-- An outcome counts only while its step is in_progress, held by p_worker, at that attempt; otherwise it changes nothing
-- and its step is listed in `superseded`. The task rows are locked first, in uuid order, and guard everything else:
-- siblings finishing on two workers cannot deadlock, and the last of many parallel steps sees that it is the last.
--
-- Without p_look the queues are not looked at: the worker knows that nothing waits there, and takes only successors.
--
-- The last row returned has no step; its summary is {"superseded": [step uuids], "ended": [task uuids],
-- "left": [namespaces with work left for others], "next_due": seconds until the next message comes due, "relayed": whether a
-- relay got an event, "final": [step uuids]}.

-- Messages of steps that were released or wait for a retry: what is ready at once, and what comes due later.
create or replace function tasker.steps_keep(
    p_steps uuid[], p_retry_after interval[], p_accepted bigint[], p_now timestamptz, out next_due timestamptz, out work_for text[]
)
language plpgsql
as $$
declare
    v_change record;
begin
    work_for := '{}';
    for v_change in
        select t.namespace,
               array_agg(s.msg_id) filter (where k.due is not null) as delayed,
               array_agg(k.due) filter (where k.due is not null) as delayed_until,
               array_agg(s.msg_id) filter (where k.due is null) as readied,
               array_agg(t.rank - coalesce(s.priority, 0) * t.aging_us) filter (where k.due is null) as readied_rank,
               array_agg(s.lane) filter (where k.due is null) as readied_lane,
               bool_or(k.due is null or s.state = 'waiting_for_retry') as leaves_work, min(k.due) as next_due
        from unnest(p_steps, p_retry_after) with ordinality as o (step, retry_after, position)
        join tasker.steps s on s.step_uuid = o.step
        join tasker.tasks t on t.task_uuid = s.task_uuid
        cross join lateral (select case when t.state = 'paused' then 'infinity' else p_now + o.retry_after end as due) k
        where o.position = any (p_accepted) and s.state in ('enqueued', 'waiting_for_retry')
        group by t.namespace
    loop
        perform tasker.queue_apply(
            v_change.namespace, null, v_change.delayed, v_change.delayed_until, v_change.readied, v_change.readied_rank,
            v_change.readied_lane, p_now, null, null, null, null, null, null);
        next_due := least(next_due, v_change.next_due);
        if v_change.leaves_work then
            work_for := work_for || v_change.namespace;
        end if;
    end loop;
end
$$;

create or replace function tasker.steps_finish(
    p_worker text, p_task uuid[], p_step uuid[], p_attempt int[], p_kind text[], p_value json[], p_took_ms float8[],
    p_retry_after interval[], p_metadata json[], p_expand json[], p_events jsonb, p_event_of int[],
    p_namespaces text[], p_want int, p_lease interval, p_look boolean, p_tags text[]
) returns setof tasker.claimed
language plpgsql
set plan_cache_mode = force_generic_plan
set jit = off                      -- before PostgreSQL 18 what is switched off here counts as cost, enough to compile
set enable_seqscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_now timestamptz := tasker.now();
    v_until timestamptz := v_now + p_lease;
    v_namespace text;
    v_rank bigint;
    v_first_rank bigint;         -- of everything that waits in the queues of this worker
    v_due timestamptz;
    v_next timestamptz;
    v_waiting text[] := '{}';    -- namespaces whose queues hold something to take
    v_ranks bigint[] := '{}';    -- and the first rank of each
    v_left text[] := '{}';       -- namespaces that got work which this worker does not take itself
    v_change record;
    v_got record;
    v_steps uuid[] := '{}';      -- taken by this worker, in the order they are returned
    v_accepted bigint[];         -- positions of the outcomes that counted
    v_ended uuid[];
    v_fixed boolean := exists (select from tasker.limits where is_fixed);
    v_limited boolean := v_fixed;
    v_gone_keys text[] := '{}';  -- business keys (and batches) of the steps that give up their room
    v_new_keys text[] := '{}';   -- and of those that are taken
    v_are_single boolean := true;    -- whether none of the steps that go has several
    v_gone_templates int[] := '{}';  -- where operators set limits: of which kind the steps are, by template and name in it
    v_gone_names text[] := '{}';
    v_new_templates int[] := '{}';
    v_new_names text[] := '{}';
    v_gone uuid[];               -- steps that give up their room
    v_asked uuid[] := '{}';      -- of v_steps, those that may be limited: they ask for room
    v_told tid[];                -- rows of the history that may be theirs
    v_admitted uuid[];
    v_back text[];               -- namespaces with steps that had waited for room
    v_namespaces text[];         -- of what was accepted
    v_stopping uuid[] := '{}';   -- tasks of which some steps are not to run any more
    v_relayed boolean := false;  -- whether a relay got an event
    v_final uuid[] := '{}';      -- steps that failed, were to be tried again, and will not be
begin
    perform from tasker.tasks where task_uuid = any (p_task) order by task_uuid for no key update;
    if cardinality(array_remove(p_expand::text[], null)) > 0 then
        perform tasker.steps_expand(p_worker, o.task_uuid, o.step_uuid, o.attempt, o.expand)
        from unnest(p_task, p_step, p_attempt, p_expand) as o (task_uuid, step_uuid, attempt, expand)
        where o.expand is not null;
    end if;
    if v_limited then
        -- Before anything else is locked, and in the same order as everybody: no claim below has to wait for a row.
        perform from tasker.limits where is_fixed order by key for no key update;
    end if;

    if p_want > 0 and p_look then
        foreach v_namespace in array p_namespaces loop
            select q.next_due, q.first_rank into v_due, v_rank from tasker.queue_next(v_namespace) q;
            v_next := least(v_next, v_due);
            v_first_rank := least(v_first_rank, v_rank);
            if v_rank is not null or v_due <= v_now then
                v_waiting := v_waiting || v_namespace;
                v_ranks := v_ranks || v_rank;
            end if;
        end loop;
    end if;

    for v_change in
        with moved as (
            update tasker.steps s
            set state = case o.kind
                            when 'succeeded' then case when o.task_state = 'paused' then 'enqueued_for_orchestration'
                                                       else 'complete' end
                            when 'released' then case when o.is_over then 'cancelled' else 'enqueued' end
                            else case when o.task_state = 'paused' then 'enqueued_as_error_for_orchestration'
                                      when o.retry_after is null or o.is_over then 'error' else 'waiting_for_retry' end end,
                state_since = v_now,
                result = case when o.kind = 'succeeded' then o.value else s.result end,
                error = case when o.kind = 'failed' then o.value else s.error end,
                took_ms = o.took_ms,
                attempts = s.attempts - (o.kind = 'released')::int,
                retry_at = case when o.kind = 'failed' then v_now + o.retry_after end,
                -- Of a step that waits for a retry: who failed. Somebody else is to try it, if there is somebody.
                worker = case when o.kind = 'failed' and o.retry_after is not null and o.task_state <> 'paused'
                                   and not o.is_over then p_worker end
            from (
                select o.*, t.template_id, t.namespace, t.rank, t.aging_us, t.limit_key, t.state as task_state,
                       t.state in ('complete', 'error', 'cancelled', 'resolved_manually') as is_over
                from unnest(p_task, p_step, p_attempt, p_kind, p_value, p_took_ms, p_retry_after, p_metadata)
                    with ordinality
                    as o (task_uuid, step_uuid, attempt, kind, value, took_ms, retry_after, metadata, position)
                join tasker.tasks t on t.task_uuid = o.task_uuid
            ) o
            -- Found by its own uuid, never among all steps of its task: there may be ten thousand of them.
            where s.step_uuid = o.step_uuid and (s.task_uuid = o.task_uuid) is true
              and s.state = 'in_progress' and s.worker = p_worker and s.attempts = o.attempt
            returning s.step_uuid, s.task_uuid, s.state, s.children, s.msg_id, s.if_failed, s.lane,
                      coalesce(tasker.keys_as_text(s.limit_keys), o.limit_key) as keyed, o.limit_key, o.template_id, s.template_step,
                      o.attempt, o.kind, o.value, o.took_ms, o.metadata, o.position, o.namespace,
                      o.rank - coalesce(s.priority, 0) * o.aging_us as rank, o.rank as task_rank, o.aging_us, o.task_state
        ), told as (
            insert into tasker.step_history (
                task_uuid, step_uuid, from_state, to_state, at, attempt, worker, took_ms, error, metadata, reason)
            select task_uuid, step_uuid, 'in_progress', state, v_now, attempt, p_worker, took_ms,
                   case when kind = 'failed' then value end, metadata, case when kind = 'released' then 'released' end
            from moved
        ), freed as (
            select child, count(*)::int as parents, min(m.namespace) as namespace, min(m.task_rank) as rank,
                   min(m.aging_us) as aging_us, min(m.limit_key) as limit_key, min(m.template_id) as template_id
            from moved m cross join unnest(m.children) as child
            where m.state = 'complete' or (m.state = 'error' and m.if_failed = 'forgive') group by child
        ), successor as (
            select step_uuid, waits_on, namespace, rank, lane, limit_key, template_id,
                   is_ready and (v_first_rank is null or rank <= v_first_rank)
                       and count(*) filter (where is_ready) over (order by rank, position rows unbounded preceding) <= p_want
                       as taken
            from (
                select c.step_uuid, c.waits_on - f.parents as waits_on, f.namespace, f.limit_key, f.template_id, c.position, c.lane,
                       f.rank - coalesce(c.priority, 0) * f.aging_us as rank,
                       c.waits_on = f.parents and (c.lane is null or tasker.queue_fits(c.lane, p_tags)) as is_ready
                from freed f join tasker.steps c on c.step_uuid = f.child
                where c.state = 'pending'
            ) c
        ), child as (
            update tasker.steps c
            set waits_on = n.waits_on,
                state = case when n.waits_on > 0 then 'pending' when n.taken then 'in_progress' else 'enqueued' end,
                state_since = case when n.waits_on > 0 then c.state_since else v_now end,
                attempts = c.attempts + n.taken::int,
                worker = case when n.taken then p_worker end,
                msg_id = case when n.waits_on = 0 then nextval(ns.queue_sequence) end
            from successor n join tasker.namespaces ns on ns.name = n.namespace
            where c.step_uuid = n.step_uuid
            returning c.step_uuid, c.task_uuid, c.state, c.attempts, c.msg_id, n.namespace, n.rank, n.taken, n.lane,
                      coalesce(tasker.keys_as_text(c.limit_keys), n.limit_key) as keyed, n.template_id, c.template_step
        ), child_told as (
            insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt, worker)
            select task_uuid, step_uuid, 'pending', state, v_now, attempts, case when taken then p_worker end
            from child where state <> 'pending'
            returning ctid as place
        ), task_moved as (
            update tasker.tasks t
            set steps_done = t.steps_done + d.done, steps_active = t.steps_active + d.active,
                steps_retrying = t.steps_retrying + d.retrying, steps_failed = t.steps_failed + d.failed,
                steps_forgiven = t.steps_forgiven + d.forgiven,
                state = tasker.task_state(
                    t.state, t.on_failure, t.steps_total, t.steps_done + t.steps_forgiven + d.done + d.forgiven,
                    t.steps_active + d.active, t.steps_retrying + d.retrying, t.steps_failed + d.failed),
                state_since = case when tasker.task_state(
                    t.state, t.on_failure, t.steps_total, t.steps_done + t.steps_forgiven + d.done + d.forgiven,
                    t.steps_active + d.active, t.steps_retrying + d.retrying, t.steps_failed + d.failed) = t.state
                    then t.state_since else v_now end,
                completed_at = case when t.steps_done + t.steps_forgiven + d.done + d.forgiven = t.steps_total
                               and t.completed_at is null then v_now else t.completed_at end
            from (
                select task_uuid, sum(done)::int as done, sum(active)::int as active, sum(retrying)::int as retrying,
                       sum(failed)::int as failed, sum(forgiven)::int as forgiven, min(task_state) as old_state
                from (
                    select task_uuid, (state = 'complete')::int as done,
                           -(state in ('complete', 'error', 'waiting_for_retry', 'cancelled'))::int as active,
                           (state = 'waiting_for_retry')::int as retrying,
                           (state = 'error' and if_failed is distinct from 'forgive')::int as failed,
                           (state = 'error' and if_failed is not distinct from 'forgive')::int as forgiven, task_state
                    from moved
                    union all
                    select task_uuid, 0, 1, 0, 0, 0, null from child where state <> 'pending'
                ) change
                group by task_uuid
            ) d
            where t.task_uuid = d.task_uuid
            returning t.task_uuid, d.old_state, t.state
        ), task_told as (
            insert into tasker.task_history (task_uuid, from_state, to_state, at)
            select task_uuid, old_state, state, v_now from task_moved where old_state <> state
        ), message as (
            select namespace, msg_id, task_uuid, step_uuid, rank, lane,
                   case when state in ('enqueued', 'waiting_for_retry') then 'keep' else 'delete' end as change, keyed,
                   template_id, template_step
            from moved
            union all
            select namespace, msg_id, task_uuid, step_uuid, rank, lane, case when taken then 'insert_taken' else 'insert' end,
                   keyed, template_id, template_step
            from child where state <> 'pending'
        )
        select namespace,
               array_agg(msg_id) filter (where change = 'delete') as deleted,
               array_agg(msg_id) filter (where change like 'insert%') as inserted,
               array_agg(task_uuid) filter (where change like 'insert%') as inserted_task,
               array_agg(step_uuid) filter (where change like 'insert%') as inserted_step,
               array_agg(case when change = 'insert' then v_now else v_until end) filter (where change like 'insert%')
                   as inserted_vt,
               array_agg(case when change = 'insert' then rank end) filter (where change like 'insert%') as inserted_rank,
               case when bool_or(lane is not null) then array_agg(lane) filter (where change like 'insert%') end
                   as inserted_lane,
               array_agg(step_uuid order by rank) filter (where change = 'insert_taken') as taken,
               bool_or(change = 'insert') as leaves_work,
               array_agg(keyed) filter (where keyed is not null and change in ('keep', 'delete')) as gone_keys,
               array_agg(keyed) filter (where keyed is not null and change = 'insert_taken') as new_keys,
               bool_and(keyed not like '{%') as are_single,
               array_agg(template_id) filter (where v_fixed and change in ('keep', 'delete')) as gone_templates,
               array_agg(template_step) filter (where v_fixed and change in ('keep', 'delete')) as gone_names,
               array_agg(template_id) filter (where v_fixed and change = 'insert_taken') as new_templates,
               array_agg(template_step) filter (where v_fixed and change = 'insert_taken') as new_names,
               case when v_fixed or bool_or(keyed is not null) then (select array_agg(place) from child_told) end as told,
               (select array_agg(position) from moved) as accepted,
               (select array_agg(task_uuid) from task_moved
                where state in ('complete', 'error', 'blocked_by_failures')) as ended
        from message group by namespace
    loop
        perform tasker.queue_apply(
            v_change.namespace, v_change.deleted, null, null, null, null, null, v_now, v_change.inserted, v_change.inserted_task,
            v_change.inserted_step, v_change.inserted_vt, v_change.inserted_rank, v_change.inserted_lane);
        v_steps := v_steps || coalesce(v_change.taken, '{}');
        v_accepted := v_change.accepted;
        v_ended := v_change.ended;
        v_gone_keys := v_gone_keys || v_change.gone_keys;
        v_new_keys := v_new_keys || v_change.new_keys;
        v_gone_templates := v_gone_templates || v_change.gone_templates;
        v_gone_names := v_gone_names || v_change.gone_names;
        v_new_templates := v_new_templates || v_change.new_templates;
        v_new_names := v_new_names || v_change.new_names;
        v_are_single := v_are_single and v_change.are_single;
        v_told := coalesce(v_change.told, v_told);
        v_namespaces := v_namespaces || v_change.namespace;
        if v_change.leaves_work then
            v_left := v_left || v_change.namespace;
        end if;
    end loop;

    v_limited := v_limited or v_gone_keys <> '{}' or v_new_keys <> '{}';

    -- What does not come with every call is looked for only where it can be.
    if 'failed' = any (p_kind) or 'released' = any (p_kind) then
        select least(v_next, k.next_due), v_left || k.work_for into v_next, v_left
        from tasker.steps_keep(p_step, p_retry_after, v_accepted, v_now) k;
        v_stopping := array(
            select distinct s.task_uuid from unnest(p_step, p_kind) with ordinality as o (step, kind, position)
            join tasker.steps s on s.step_uuid = o.step
            where o.kind = 'failed' and o.position = any (v_accepted) and s.state = 'error' and s.if_failed = 'stop_batch');
    end if;
    if v_ended is not null then
        v_stopping := v_stopping || array(
            select t.task_uuid from tasker.tasks t
            where t.task_uuid = any (v_ended) and t.state = 'error' and t.state_since = v_now and t.task_uuid <> all (v_stopping));
    end if;

    if v_limited then
        v_gone := case when cardinality(v_accepted) = cardinality(p_step) then p_step else array(
            select o.step from unnest(p_step) with ordinality as o (step, position) where o.position = any (v_accepted)) end;
        if v_steps <> '{}' then
            v_asked := case when v_fixed or cardinality(v_new_keys) = cardinality(v_steps) then v_steps else array(
                select s.step_uuid from unnest(v_steps) with ordinality as u (step, position)
                join tasker.steps s on s.step_uuid = u.step join tasker.tasks t on t.task_uuid = s.task_uuid
                where s.limit_keys is not null or t.limit_key is not null order by u.position) end;
        end if;
        if v_asked <> '{}' and tasker.limits_handed_on(
            v_gone_keys, v_new_keys, v_gone_templates, v_gone_names, v_new_templates, v_new_names)
        then
            v_asked := '{}';
        else
            v_back := tasker.limits_release(v_gone, v_now, null, case when not v_fixed and v_are_single then v_gone_keys end);
            v_left := v_left || v_back;
            -- What came back for the room that was given up may be taken at once.
            v_back := array(select distinct n from unnest(v_back) n where n = any (p_namespaces) and n <> all (v_waiting));
            v_waiting := v_waiting || v_back;
            v_ranks := v_ranks || array(select null::bigint from unnest(v_back));
        end if;
        if v_asked <> '{}' then
            select a.admitted, v_left || a.work_for into v_admitted, v_left
            from tasker.steps_admit(v_asked, v_told, v_now, null) a;
            v_steps := array(select u.step from unnest(v_steps) with ordinality as u (step, position)
                             where u.step = any (v_admitted) or u.step <> all (v_asked) order by u.position);
        end if;
    end if;
    if v_stopping <> '{}' then
        perform tasker.batches_stop(p_step, v_now);
        select v_left || r.work_for, v_ended || r.ended into v_left, v_ended from tasker.tasks_settle(v_stopping, null, v_now) r;
    end if;

    -- After whatever may have ended these steps: a failure that was to be tried again and will not be is told as the
    -- permanent one that it is, by whoever pays what is owed.
    if 'failed' = any (p_kind) then
        v_final := array(
            select s.step_uuid from unnest(p_step, p_kind, p_retry_after) with ordinality as o (step, kind, retry_after, position)
            join tasker.steps s on s.step_uuid = o.step
            where o.kind = 'failed' and o.retry_after is not null and o.position = any (v_accepted)
              and s.state in ('error', 'cancelled'));
        if v_final <> '{}' then
            update tasker.steps s set error = replace(s.error::text, '"will_retry":true', '"will_retry":false')::json
            where s.step_uuid = any (v_final);
            perform tasker.events_owe(v_final, v_now);
        end if;
    end if;
    if p_events is not null and v_accepted is not null then
        if cardinality(v_namespaces) = 1 and cardinality(v_accepted) = cardinality(p_step) and v_final = '{}' then
            v_relayed := tasker.events_send(v_namespaces[1], p_events);
        else
            for v_change in
                select t.namespace, jsonb_agg(e.event order by e.position) as events
                from rows from (jsonb_array_elements(p_events), unnest(p_event_of)) with ordinality as e (event, outcome, position)
                join tasker.tasks t on t.task_uuid = p_task[e.outcome]
                where e.outcome = any (v_accepted) and p_step[e.outcome] <> all (v_final)
                group by t.namespace
            loop
                v_relayed := tasker.events_send(v_change.namespace, v_change.events) or v_relayed;
            end loop;
        end if;
    end if;

    if cardinality(v_waiting) > 1 then
        v_waiting := array(select w.name from unnest(v_waiting, v_ranks) as w (name, rank) order by w.rank nulls first);
    end if;
    foreach v_namespace in array v_waiting loop
        exit when cardinality(v_steps) >= p_want;
        select * into v_got from tasker.steps_take(
            p_worker, v_namespace, v_now, v_until, p_want - cardinality(v_steps), p_tags);
        v_steps := v_steps || coalesce(v_got.steps, '{}');
        v_ended := v_ended || v_got.ended;
        if v_got.left_work then
            v_left := v_left || v_namespace;
        end if;
    end loop;

    if v_steps <> '{}' then
        return query select * from tasker.claimed_rows(v_steps);
    end if;
    return next row(null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, json_build_object(
        'superseded', case when cardinality(v_accepted) = cardinality(p_step) then '{}'
                      else array(select o.step from unnest(p_step) with ordinality as o (step, position)
                                 where o.position <> all (coalesce(v_accepted, '{}'))) end,
        'ended', coalesce(v_ended, '{}'), 'left', v_left, 'next_due', extract(epoch from nullif(v_next, 'infinity') - v_now),
        'relayed', v_relayed, 'final', v_final))::tasker.claimed;
end
$$;
