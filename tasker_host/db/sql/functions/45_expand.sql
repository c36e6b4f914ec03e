-- Steps that a decision or an analyzer adds to its running task, within the call that finishes it.
--
-- p_expand is {"steps": [{"name", "template_step", "parents": [[candidate names], …], "reads": [names] or null, "inputs"}]}.
-- Of the candidates of a parent the first one that exists counts; a further one (a decision that may yet make the first) only
-- while it has not come to its end. A step that exists already is not made again: it gets the parents that it lacks.
-- `reads` null: the values of its parents.

create or replace function tasker.steps_expand(
    p_worker text, p_task uuid, p_step uuid, p_attempt int, p_expand json
) returns void
language plpgsql
set plan_cache_mode = force_custom_plan
set enable_hashjoin = on
set enable_mergejoin = on
set enable_sort = on
set enable_seqscan = on
set jit = off
as $$
declare
    v_task record;
    v_base int;
    v_made int;
    v_fresh int;
begin
    select t.template_id, t.limit_keys, t.tags into v_task
    from tasker.tasks t join tasker.steps s on s.task_uuid = t.task_uuid
    where t.task_uuid = p_task and s.step_uuid = p_step and s.state = 'in_progress' and s.worker = p_worker
      and s.attempts = p_attempt and t.state not in ('complete', 'error', 'cancelled', 'resolved_manually');
    if not found then
        return;    -- its outcome will not count either
    end if;
    select max(position) into v_base from tasker.steps where task_uuid = p_task;

    with wanted as materialized (
        select w.position, w.value ->> 'name' as name, w.value ->> 'template_step' as template_step,
               w.value -> 'parents' as parents, w.value -> 'reads' as reads, w.value -> 'inputs' as inputs
        from json_array_elements(p_expand -> 'steps') with ordinality as w (value, position)
    ), there as materialized (
        select s.step_uuid, s.name, s.state, s.if_failed, s.parents, tasker.is_satisfied(s.state, s.if_failed) as is_satisfied
        from tasker.steps s where s.task_uuid = p_task
    ), fresh as materialized (
        select w.*, (left(p_task::text, 30) || lpad(to_hex(v_base + w.position), 6, '0'))::uuid as step_uuid
        from wanted w where not exists (select from there t where t.name = w.name)
    ), known as materialized (
        select step_uuid, name, is_satisfied, true as is_there from there
        union all
        select step_uuid, name, false, false from fresh
    ), edge as materialized (
        -- child, parent: the first candidate that exists
        select distinct c.child, c.parent, c.is_satisfied
        from (
            select distinct on (w.name, d.position) k2.step_uuid as child, k.step_uuid as parent, k.is_satisfied, n.position as preference
            from wanted w
            cross join json_array_elements(w.parents) with ordinality as d (value, position)
            cross join json_array_elements_text(d.value) with ordinality as n (name, position)
            join known k on k.name = n.name
            join known k2 on k2.name = w.name
            order by w.name, d.position, n.position
        ) c
        where c.preference = 1 or not c.is_satisfied
    ), parents_of as materialized (
        select child, array_agg(parent order by parent) as parents, (count(*) filter (where not is_satisfied))::int as open
        from edge group by child
    ), children_of as materialized (
        select parent, array_agg(child order by child) as children from edge group by parent
    ), made as (
        insert into tasker.steps (
            step_uuid, task_uuid, position, name, template_step, state, state_since, waits_on, parents, children, reads,
            max_attempts, inputs, if_failed, priority, lane, limit_keys, made_by)
        select f.step_uuid, p_task, v_base + f.position, f.name, f.template_step, 'pending', tasker.now(), coalesce(p.open, 0),
               coalesce(p.parents, '{}'), coalesce(c.children, '{}'),
               case when json_typeof(f.reads) = 'array' then
                   array(select k.step_uuid from json_array_elements_text(f.reads) with ordinality as r (name, position)
                         join known k on k.name = r.name order by r.position)
               else coalesce(p.parents, '{}') end,
               d.max_attempts, nullif(f.inputs::text, 'null')::json, d.if_failed, d.priority,
               tasker.queue_lane(v_task.tags || d.tags),
               nullif(coalesce(tasker.step_limit_keys(v_task.limit_keys, f.template_step), '{}')
                      || case when d.parallelism is not null then array['batch:' || p_step] else '{}' end, '{}'),
               p_step
        from fresh f
        join tasker.template_rules d on d.template_id = v_task.template_id and d.name = f.template_step
        left join parents_of p on p.child = f.step_uuid
        left join children_of c on c.parent = f.step_uuid
        returning 1
    ), gained as (
        -- What was there before: parents of the new steps, and joins that now wait for some of them too.
        select t.step_uuid,
               array(select e.parent from edge e
                     where e.child = t.step_uuid and t.state = 'pending' and e.parent <> all (t.parents)) as parents,
               (select count(*) from edge e where e.child = t.step_uuid and t.state = 'pending'
                     and e.parent <> all (t.parents) and not e.is_satisfied)::int as open,
               array(select e.child from edge e left join there c on c.step_uuid = e.child
                     where e.parent = t.step_uuid
                       and (c.step_uuid is null or (c.state = 'pending' and t.step_uuid <> all (c.parents)))) as children
        from there t where t.step_uuid in (select child from edge union all select parent from edge)
    ), linked as (
        update tasker.steps s
        set parents = s.parents || g.parents, waits_on = s.waits_on + g.open, children = s.children || g.children,
            reads = case when cardinality(s.reads) + cardinality(g.parents) <= 64 then s.reads || g.parents else s.reads end
        from gained g
        where s.step_uuid = g.step_uuid and (g.parents <> '{}' or g.children <> '{}')
        returning 1
    )
    select (select count(*) from made), (select count(*) from fresh) into v_made, v_fresh;
    if v_made <> v_fresh then
        raise exception 'template % has not all of the steps that are to be added to task %', v_task.template_id, p_task;
    end if;
    update tasker.tasks set steps_total = steps_total + v_made where task_uuid = p_task;
end
$$;
