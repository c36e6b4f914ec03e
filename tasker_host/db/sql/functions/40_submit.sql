-- Creates tasks with their steps, edges and first messages, all or none of each, in one transaction.
--
-- Parallel arrays, one element per task. Returns one row per task in the order given: created, or false where the
-- identity belongs to a task that exists (then nothing of it was written). A context must be a JSON object.

create or replace function tasker.tasks_submit(
    p_task uuid[], p_template int[], p_context json[], p_priority smallint[], p_identity text[], p_tags json[],
    p_correlation uuid[], p_parent_correlation uuid[], p_initiator text[], p_source text[], p_reason text[],
    p_start_at timestamptz[], p_aging_interval interval
) returns table (task_uuid uuid, created boolean)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_aging bigint := extract(epoch from p_aging_interval) * 1000000;
    v_created uuid[];
    v_namespace text;
    v_ids bigint[];
    v_tasks uuid[];
    v_steps uuid[];
    v_vt timestamptz[];
    v_rank bigint[];
begin
    with made as (
        insert into tasker.tasks (
            task_uuid, template_id, namespace, state, state_since, steps_total, steps_active, rank, priority, context, tags,
            identity_key, correlation_id, parent_correlation_id, initiator, source_system, reason, created_at, start_at,
            completed_at)
        select n.task_uuid, t.template_id, t.namespace,
               case when t.roots = 0 then 'complete' when n.start_at > v_now then 'pending' else 'steps_in_process' end,
               v_now, t.steps, t.roots,
               extract(epoch from greatest(n.start_at, v_now))::numeric * 1000000 - n.priority * v_aging,
               n.priority, n.context, case when n.tags is null then '{}' else array(select json_array_elements_text(n.tags)) end,
               n.identity, n.correlation, n.parent_correlation, n.initiator, n.source, n.reason, v_now, n.start_at,
               case when t.roots = 0 then v_now end
        from unnest(p_task, p_template, p_context, p_priority, p_identity, p_tags, p_correlation, p_parent_correlation,
                    p_initiator, p_source, p_reason, p_start_at)
                 as n (task_uuid, template_id, context, priority, identity, tags, correlation, parent_correlation,
                       initiator, source, reason, start_at)
        join tasker.templates t on t.template_id = n.template_id
        on conflict (identity_key) where identity_key is not null do nothing
        returning task_uuid, state
    ), told as (
        insert into tasker.task_history (task_uuid, from_state, to_state, at)
        select task_uuid, null, state, v_now from made
    )
    select array_agg(task_uuid) into v_created from made;

    for v_namespace, v_ids, v_tasks, v_steps, v_vt, v_rank in
        with made as (
            insert into tasker.steps (
                step_uuid, task_uuid, position, name, template_step, state, state_since, waits_on, parents, children,
                reads, max_attempts, msg_id)
            select k.ids[s.position], t.task_uuid, s.position, s.name, s.name,
                   case when s.parents = '{}' then 'enqueued' else 'pending' end, v_now, cardinality(s.parents),
                   case when s.parents = '{}' then '{}' else array(select k.ids[p] from unnest(s.parents) p) end,
                   case when s.children = '{}' then '{}' else array(select k.ids[p] from unnest(s.children) p) end,
                   case when s.reads = '{}' then '{}' else array(select k.ids[p] from unnest(s.reads) p) end,
                   s.max_attempts,
                   case when s.parents = '{}' then nextval(ns.queue_sequence) end
            from unnest(v_created) as c (task_uuid)
            join tasker.tasks t on t.task_uuid = c.task_uuid
            join tasker.namespaces ns on ns.name = t.namespace
            cross join lateral (
                select array_agg(tasker.uuid7() order by position) as ids
                from tasker.template_steps where template_id = t.template_id) k
            join tasker.template_steps s on s.template_id = t.template_id
            returning step_uuid, task_uuid, msg_id
        )
        select t.namespace, array_agg(m.msg_id), array_agg(m.task_uuid), array_agg(m.step_uuid),
               array_agg(coalesce(t.start_at, v_now)),
               array_agg(case when t.start_at > v_now then null else t.rank end)
        from made m join tasker.tasks t on t.task_uuid = m.task_uuid
        where m.msg_id is not null
        group by t.namespace
    loop
        perform tasker.queue_apply(
            v_namespace, null, null, null, null, null, v_now, v_ids, v_tasks, v_steps, v_vt, v_rank);
    end loop;

    return query
        select n.task_uuid, n.task_uuid = any (coalesce(v_created, '{}'))
        from unnest(p_task) with ordinality as n (task_uuid, position) order by n.position;
end
$$;
