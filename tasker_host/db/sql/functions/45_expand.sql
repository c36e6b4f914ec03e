-- Steps that a decision or an analyzer adds to its running task, within the call that finishes it.
--
-- p_expand is what domain/making.py says of them, all names being those of the template; that of a batch_worker stands for
-- all its instances:
--
--   steps  [{"name", "parents": [[candidate names], …], "reads": [names] or null, "if_all": [names], "if_any": [names],
--            "instances": [{"name", "inputs"}]}], parents before children
--          A step with conditions is made only if all of these, and any of these, exist by then. One that has no parent to wait
--          for waits for the step that adds it. One that exists already is not made again. Instances are steps of their own
--          names; a step without them is one of its own name.
--          Of the candidates of a parent the first one that exists counts; a further one is a decision or an analyzer that
--          may yet make the first.
--   links  [{"name", "parents": [names], "reads": [names] or null}]: steps that may exist and wait for these parents too, if
--          they are made now
--   is_shared  true where other deciders have a say in these steps. Then p_expand is kept with the step that said so: when
--          one of the others is run again, all that is below it goes, and is made anew from what is kept (see steps_rerun).
--
-- `reads` null, or more than 64 of them: the values of its parents.

create or replace function tasker.steps_expand(
    p_worker text, p_task uuid, p_step uuid, p_attempt int, p_expand json
) returns void
language plpgsql
as $$
begin
    perform from tasker.tasks t join tasker.steps s on s.task_uuid = t.task_uuid
    where t.task_uuid = p_task and s.step_uuid = p_step and s.state = 'in_progress' and s.worker = p_worker
      and s.attempts = p_attempt and t.state not in ('complete', 'error', 'cancelled', 'resolved_manually');
    if not found then
        return;    -- its outcome will not count either
    end if;
    if p_expand -> 'is_shared' is not null then
        update tasker.steps set expansion = p_expand where step_uuid = p_step;
    end if;
    perform tasker.steps_make(p_task, p_step, p_expand);
end
$$;

-- The same without a look at who says so. The task is locked.
create or replace function tasker.steps_make(p_task uuid, p_step uuid, p_expand json) returns void
language plpgsql
set plan_cache_mode = force_custom_plan
set enable_hashjoin = on
set enable_mergejoin = on
set enable_sort = on
set enable_seqscan = on
set enable_nestloop = off          -- its sets are thought to be small: ten thousand in a loop over ten thousand take 15 s
set jit = off
as $$
declare
    v_task record;
    v_base int;
    v_names text[];              -- of the template's steps that there are, and those that are to be made
    v_step record;
    v_made int;
    v_fresh int;
begin
    if p_expand -> 'steps' is null then
        raise exception 'steps are added as {"steps": […], "links": […]}, found %: this worker is older than its database',
            left(p_expand::text, 80);
    end if;
    select t.template_id, t.limit_key, t.limit_keys, t.tags, t.former_steps into v_task from tasker.tasks t where t.task_uuid = p_task;
    select max(position), array_agg(distinct template_step) into v_base, v_names from tasker.steps where task_uuid = p_task;
    if v_task.former_steps is not null then
        v_base := greatest(v_base, (select max(f.value::int) from json_each_text(v_task.former_steps) f));
    end if;
    for v_step in
        select w ->> 'name' as name, w -> 'if_all' as if_all, w -> 'if_any' as if_any
        from json_array_elements(p_expand -> 'steps') with ordinality as e (w, position) order by position
    loop
        if (v_step.if_all is null or array(select json_array_elements_text(v_step.if_all)) <@ v_names)
           and (v_step.if_any is null or array(select json_array_elements_text(v_step.if_any)) && v_names) then
            v_names := v_names || v_step.name;
        end if;
    end loop;

    with wanted as materialized (
        select w.position, w.value ->> 'name' as name, w.value -> 'parents' as parents, w.value -> 'reads' as reads,
               w.value -> 'instances' as instances
        from json_array_elements(p_expand -> 'steps') with ordinality as w (value, position)
        where w.value ->> 'name' = any (v_names)
    ), there as materialized (
        select s.step_uuid, s.name, s.template_step, s.state, tasker.is_satisfied(s.state, s.if_failed) as is_satisfied
        from tasker.steps s where s.task_uuid = p_task
    ), fresh as materialized (
        select n.wanted, n.template_step, n.name, n.inputs, p.position,
               (left(p_task::text, 30) || lpad(to_hex(p.position), 6, '0'))::uuid as step_uuid
        from (
            select row_number() over (order by w.position, i.position)::int as position, w.position as wanted,
                   w.name as template_step, coalesce(i.value ->> 'name', w.name) as name, i.value -> 'inputs' as inputs
            from wanted w left join lateral json_array_elements(w.instances) with ordinality as i (value, position) on true
        ) n
        -- One that was there before is the same again, and its history goes on.
        left join json_each_text(v_task.former_steps) f on f.key = n.name
        cross join lateral (select coalesce(f.value::int, v_base + n.position) as position) p
        where not exists (select from there t where t.name = n.name)
    ), known as materialized (
        select step_uuid, template_step, is_satisfied from there
        union all
        select step_uuid, template_step, false from fresh
    ), parent as materialized (
        -- What is made from one step of the template has the same parents.
        select w.position as wanted, case when a.open > 0 or p_step = any (a.uuids) then a.uuids else a.uuids || p_step end as uuids,
               greatest(a.open, 1) as open
        from wanted w left join (
            select c.wanted, array_agg(k.step_uuid order by k.step_uuid) as uuids,
                   (count(*) filter (where not k.is_satisfied))::int as open
            from (
                select distinct c.wanted, c.name
                from (
                    -- The first candidate that exists.
                    select distinct on (w.position, g.position) w.position as wanted, n.name
                    from wanted w
                    cross join json_array_elements(w.parents) with ordinality as g (value, position)
                    cross join json_array_elements_text(g.value) with ordinality as n (name, position)
                    where n.name = any (v_names)
                    order by w.position, g.position, n.position
                ) c
            ) c
            join known k on k.template_step = c.name
            group by c.wanted
        ) a on a.wanted = w.position
    ), read as materialized (
        select r.wanted, r.link, array_agg(k.step_uuid order by r.position, k.step_uuid) as uuids
        from (
            select w.position as wanted, null as link, n.name, n.position
            from wanted w cross join json_array_elements_text(w.reads) with ordinality as n (name, position)
            where json_typeof(w.reads) = 'array'
            union all
            select null, l ->> 'name', n.name, n.position
            from json_array_elements(p_expand -> 'links') l
            cross join json_array_elements_text(l -> 'reads') with ordinality as n (name, position)
            where json_typeof(l -> 'reads') = 'array'
        ) r
        join known k on k.template_step = r.name
        group by r.wanted, r.link
    ), link as materialized (
        -- What exists and now waits for something new too.
        select c.step_uuid as child, array_agg(f.step_uuid order by f.step_uuid) as parents,
               (select case when cardinality(r.uuids) <= 64 then r.uuids end from read r where r.link = c.template_step) as reads
        from json_array_elements(p_expand -> 'links') l
        join there c on c.template_step = l ->> 'name' and c.state = 'pending'
        cross join json_array_elements_text(l -> 'parents') p
        join fresh f on f.template_step = p
        group by c.step_uuid, c.template_step
    ), rule as materialized (
        select w.position as wanted, d.max_attempts, d.if_failed, d.priority, tasker.queue_lane(v_task.tags || d.tags) as lane,
               nullif(coalesce(tasker.step_limit_keys(v_task.limit_keys, w.name), '{}')
                      || case when d.parallelism is not null then array_remove(array[v_task.limit_key, 'batch:' || p_step], null)
                              else '{}' end, '{}') as limit_keys
        from wanted w join tasker.template_rules d on d.template_id = v_task.template_id and d.name = w.name
    ), child as materialized (
        select e.parent, array_agg(e.child order by e.child) as uuids
        from (
            select u.parent, f.step_uuid as child from parent p cross join unnest(p.uuids) as u (parent)
            join fresh f on f.wanted = p.wanted
            union all
            select u.parent, l.child from link l cross join unnest(l.parents) as u (parent)
        ) e
        group by e.parent
    ), made as (
        insert into tasker.steps (
            step_uuid, task_uuid, position, name, template_step, state, state_since, waits_on, parents, children, reads,
            max_attempts, inputs, if_failed, priority, lane, limit_keys, made_by)
        select f.step_uuid, p_task, f.position, f.name, f.template_step, 'pending', tasker.now(), p.open,
               p.uuids, coalesce(c.uuids, '{}'),
               coalesce(case when cardinality(r.uuids) <= 64 then r.uuids end, p.uuids),
               d.max_attempts, case when json_typeof(f.inputs) <> 'null' then f.inputs end, d.if_failed, d.priority, d.lane,
               d.limit_keys, p_step
        from fresh f
        join rule d on d.wanted = f.wanted
        join parent p on p.wanted = f.wanted
        left join read r on r.wanted = f.wanted
        left join child c on c.parent = f.step_uuid
        returning 1
    ), linked as (
        update tasker.steps s
        set parents = s.parents || coalesce(l.parents, '{}'),
            waits_on = s.waits_on + coalesce(cardinality(l.parents), 0),
            children = s.children || coalesce(c.uuids, '{}'),
            reads = case when l.child is null then s.reads else coalesce(l.reads, s.parents || l.parents) end
        from there t
        left join link l on l.child = t.step_uuid
        left join child c on c.parent = t.step_uuid
        where s.task_uuid = p_task and s.step_uuid = t.step_uuid and (l.child is not null or c.parent is not null)
        returning 1
    )
    select (select count(*) from made), (select count(*) from fresh) into v_made, v_fresh;
    if v_made <> v_fresh then
        raise exception 'template % has not all of the steps that are to be added to task %', v_task.template_id, p_task;
    end if;
    update tasker.tasks set steps_total = steps_total + v_made where task_uuid = p_task;
end
$$;
