-- Creates tasks with their steps, edges and first messages, all or none of each, in one transaction.
--
-- Parallel arrays, one element per task. A context must be a JSON object. The last row returned has no step; its summary
-- is {"created": [for each task in the order given: true, or false where the identity belongs to a task that exists, and
-- nothing of it was written]}.
--
-- When p_worker has room for all first steps (p_want of them) and nothing older waits in its queues (p_namespaces), it is
-- given these steps at once, as if it had claimed them: the rows before the last.
-- Without p_look it knows that nothing waits there. p_worker_tags are its tags; null: it takes everything.
--
-- p_limit_keys are business keys, {"*": of all steps of the task, "name": of that step}.

-- The lane of a step that asks for these tags: the same text for the same set of tags; null for none.
create or replace function tasker.queue_lane(p_tags text[]) returns text
language sql immutable parallel safe as $$
    select case when cardinality(p_tags) > 0 then
        (select jsonb_agg(tag order by tag)::text from (select distinct tag from unnest(p_tags) as u (tag)) d) end
$$;

-- The business keys under which a step of that name runs, of those of its task.
create or replace function tasker.step_limit_keys(p_keys json, p_step text) returns text[]
language sql immutable parallel safe as $$
    select array_agg(distinct key) from unnest(array[p_keys ->> '*', p_keys ->> p_step]) as k (key) where key is not null
$$;

create or replace function tasker.tasks_submit(
    p_task uuid[], p_template int[], p_context json[], p_priority smallint[], p_identity text[], p_tags json[],
    p_correlation uuid[], p_parent_correlation uuid[], p_initiator text[], p_source text[], p_reason text[],
    p_start_at timestamptz[], p_limit_keys json[], p_aging_interval interval,
    p_worker text, p_namespaces text[], p_want int, p_lease interval, p_look boolean, p_worker_tags text[]
) returns setof tasker.claimed
language plpgsql
set plan_cache_mode = force_generic_plan
set jit = off                      -- before PostgreSQL 18 what is switched off here counts as cost, enough to compile
set enable_seqscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_until timestamptz := v_now + p_lease;
    v_aging bigint := extract(epoch from p_aging_interval) * 1000000;
    v_created uuid[];
    v_namespace text;
    v_take boolean;              -- whether the worker is given the first steps
    v_rank bigint;               -- of the new task that would come last
    v_change record;
    v_steps uuid[] := '{}';      -- taken by the worker
    v_asked uuid[] := '{}';      -- of these, those that may be limited: they ask for room
    v_told tid[] := '{}';        -- and their rows in the history
    v_keys text[] := '{}';       -- and the business key of each
    v_single boolean := true;    -- whether each has just one
    v_admitted uuid[];
    v_fixed boolean;             -- whether there are limits that hold for all
    v_tagged boolean;            -- whether any step may have tags
    v_frees boolean;             -- whether identities may come to their end
    v_ends boolean;              -- whether any task has a deadline
begin
    select coalesce(bool_or(t.is_special), false), bool_or(t.unique_for is not null),
           p_want > 0 and exists (select from tasker.limits where is_fixed)
    into v_tagged, v_frees, v_fixed
    from tasker.templates t where t.template_id = any (p_template);
    v_tagged := v_tagged or coalesce(cardinality(array_remove(p_tags::text[], null)) > 0, false);
    if v_frees then
        -- Identities that do not count any more are free again. Whoever wants the same ones waits here, for all in one order.
        update tasker.tasks t set identity_key = null
        from (select o.task_uuid
              from unnest(p_identity, p_template) as n (identity, template_id)
              join tasker.templates m on m.template_id = n.template_id
              join tasker.tasks o on o.identity_key = n.identity
              where case m.unique_for when 'running' then o.state in ('complete', 'error', 'cancelled', 'resolved_manually')
                    else o.created_at <= v_now - make_interval(secs => nullif(m.unique_for, 'forever')::float8) end
              order by n.identity for no key update of o) free
        where t.task_uuid = free.task_uuid;
    end if;
    with made as (
        insert into tasker.tasks (
            task_uuid, template_id, namespace, state, state_since, steps_total, steps_active, rank, priority, context, tags,
            identity_key, correlation_id, parent_correlation_id, initiator, source_system, reason, created_at, start_at,
            completed_at, on_failure, aging_us, limit_key, limit_keys, deadline_at)
        select n.task_uuid, t.template_id, t.namespace,
               case when t.roots = 0 then 'complete' when n.start_at > v_now then 'pending' else 'steps_in_process' end,
               v_now, t.steps, t.roots,
               extract(epoch from greatest(n.start_at, v_now))::numeric * 1000000 - n.priority * v_aging,
               n.priority, n.context, case when n.tags is null then '{}' else array(select json_array_elements_text(n.tags)) end,
               n.identity, n.correlation, n.parent_correlation, n.initiator, n.source, n.reason, v_now, n.start_at,
               case when t.roots = 0 then v_now end, t.on_failure, v_aging,
               case when k.is_only then k.of_all end, case when k.is_only is not true then n.limit_keys end,
               greatest(n.start_at, v_now) + t.max_duration
        from unnest(p_task, p_template, p_context, p_priority, p_identity, p_tags, p_correlation, p_parent_correlation,
                    p_initiator, p_source, p_reason, p_start_at, p_limit_keys)
                 as n (task_uuid, template_id, context, priority, identity, tags, correlation, parent_correlation,
                       initiator, source, reason, start_at, limit_keys)
        join tasker.templates t on t.template_id = n.template_id
        cross join lateral (select n.limit_keys ->> '*' as of_all, n.limit_keys::jsonb - '*' = '{}' as is_only) k
        order by n.identity          -- two batches that share identities wait for each other in one direction only
        on conflict (identity_key) where identity_key is not null do nothing
        returning task_uuid, state, steps_active, rank, deadline_at
    ), told as (
        insert into tasker.task_history (task_uuid, from_state, to_state, at)
        select task_uuid, null, state, v_now from made
    )
    select array_agg(task_uuid order by task_uuid), sum(steps_active) <= p_want, max(rank), bool_or(deadline_at is not null)
    into v_created, v_take, v_rank, v_ends from made;
    if v_ends then
        insert into tasker.deadlines (at, task_uuid)
        select t.deadline_at, t.task_uuid from tasker.tasks t where t.task_uuid = any (v_created) and t.deadline_at is not null;
    end if;

    if v_take and p_look then
        foreach v_namespace in array p_namespaces loop
            v_take := v_take and v_rank <= coalesce((select q.first_rank from tasker.queue_next(v_namespace) q), v_rank);
        end loop;
    end if;

    for v_change in
        with fresh as materialized (
            select t.task_uuid, t.namespace, t.rank, t.start_at, t.template_id, t.tags, t.limit_keys,
                   ns.queue_sequence, k.ids
            from unnest(v_created) as c (task_uuid)
            join tasker.tasks t on t.task_uuid = c.task_uuid
            join tasker.namespaces ns on ns.name = t.namespace
            cross join lateral (
                -- The task's uuid with another end: random bits for each step would cost as much as writing it.
                select array_agg((left(t.task_uuid::text, 30) || lpad(to_hex(position), 6, '0'))::uuid order by position) as ids
                from tasker.template_steps where template_id = t.template_id) k
        ), planned as (
            select f.*, s.position, s.name, s.parents, s.children, s.reads, s.max_attempts, s.if_failed, s.priority, l.lane,
                   case when f.limit_keys is not null then tasker.step_limit_keys(f.limit_keys, s.name) end as keys,
                   coalesce(v_take and s.parents = '{}' and f.namespace = any (p_namespaces)
                            and (f.start_at is null or f.start_at <= v_now)
                            and (l.lane is null or tasker.queue_fits(l.lane, p_worker_tags)), false) as taken
            from fresh f join tasker.template_steps s on s.template_id = f.template_id
            cross join lateral (
                select case when v_tagged then tasker.queue_lane(f.tags || s.tags) end as lane) l
        ), made as (
            insert into tasker.steps (
                step_uuid, task_uuid, position, name, template_step, state, state_since, waits_on, parents, children,
                reads, attempts, max_attempts, worker, msg_id, if_failed, priority, lane, limit_keys)
            select n.ids[n.position], n.task_uuid, n.position, n.name, n.name,
                   case when n.taken then 'in_progress' when n.parents = '{}' then 'enqueued' else 'pending' end,
                   v_now, cardinality(n.parents),
                   case when n.parents = '{}' then '{}' else array(select n.ids[p] from unnest(n.parents) p) end,
                   case when n.children = '{}' then '{}' else array(select n.ids[p] from unnest(n.children) p) end,
                   case when n.reads = '{}' then '{}' else array(select n.ids[p] from unnest(n.reads) p) end,
                   n.taken::int, n.max_attempts, case when n.taken then p_worker end,
                   case when n.parents = '{}' then nextval(n.queue_sequence) end,
                   n.if_failed, n.priority, n.lane, n.keys
            from planned n
            returning step_uuid, task_uuid, msg_id, priority, lane, limit_keys, state = 'in_progress' as taken
        ), told as (
            insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt, worker)
            select task_uuid, step_uuid, 'enqueued', 'in_progress', v_now, 1, p_worker from made where taken
            returning ctid as place
        )
        select t.namespace,
               array_agg(m.msg_id) as inserted,
               array_agg(m.task_uuid) as inserted_task,
               array_agg(m.step_uuid) as inserted_step,
               array_agg(case when m.taken then v_until else coalesce(t.start_at, v_now) end) as inserted_vt,
               array_agg(case when m.taken or t.start_at > v_now then null when m.priority is null then t.rank
                              else t.rank - m.priority * t.aging_us end) as inserted_rank,
               array_agg(m.lane) filter (where v_tagged) as inserted_lane,
               array_agg(m.step_uuid) filter (where m.taken) as taken,
               array_agg(m.step_uuid) filter (where m.taken and (v_fixed or m.limit_keys is not null or t.limit_key is not null)) as asked,
               array_agg(coalesce(m.limit_keys[1], t.limit_key)) filter (
                   where m.taken and (m.limit_keys is not null or t.limit_key is not null)) as keys,
               coalesce(bool_and(m.limit_keys[2] is null) filter (where m.taken), true) as are_single,
               case when v_fixed or bool_or(m.limit_keys is not null or t.limit_key is not null)
                    then (select array_agg(place) from told) end as told
        from made m join tasker.tasks t on t.task_uuid = m.task_uuid
        where m.msg_id is not null
        group by t.namespace
    loop
        perform tasker.queue_apply(
            v_change.namespace, null, null, null, null, null, null, v_now, v_change.inserted, v_change.inserted_task,
            v_change.inserted_step, v_change.inserted_vt, v_change.inserted_rank, v_change.inserted_lane);
        v_steps := v_steps || coalesce(v_change.taken, '{}');
        v_asked := v_asked || v_change.asked;
        v_told := v_told || v_change.told;
        v_keys := v_keys || v_change.keys;
        v_single := v_single and v_change.are_single;
    end loop;
    if v_asked <> '{}' then
        select a.admitted into v_admitted from tasker.steps_admit(
            v_asked, v_told, v_now, case when v_single and not v_fixed then v_keys end) a;
        v_steps := array(select u.step from unnest(v_steps) with ordinality as u (step, position)
                         where u.step = any (v_admitted) or u.step <> all (v_asked) order by u.position);
    end if;

    if v_steps <> '{}' then
        return query select * from tasker.claimed_rows(v_steps);
    end if;
    return next row(null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
                    json_build_object('created', array(
                        select n.task_uuid = any (coalesce(v_created, '{}'))
                        from unnest(p_task) with ordinality as n (task_uuid, position) order by n.position)))::tasker.claimed;
end
$$;
