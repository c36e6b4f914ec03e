-- Running steps again, and deciding again.

-- Steps of these tasks begin anew: what they were and came to is forgotten (history keeps it). What a decision or an analyzer
-- among them had added goes, to be added again; so does what others, who are not run again, had added below it: that is made
-- anew at once from what they said, as if they had said it before. So a step stays for as long as anyone wants it, and what
-- needs steps of several goes with the first of these.
create or replace function tasker.steps_rerun(
    p_tasks uuid[], p_steps uuid[], p_now timestamptz, p_actor text, p_reason text
) returns void
language plpgsql
set plan_cache_mode = force_custom_plan
as $$
declare
    v_added uuid[];
    v_children uuid[];           -- what stays and waited for something that goes
    v_makers uuid[];             -- and who may make that again
    v_above uuid[];              -- what stays and is above something that goes
    v_deciders uuid[];           -- that are run again and had made something
    v_others uuid[];             -- that are not, and can make theirs anew
    v_below uuid[];              -- of the first
    v_said record;
begin
    -- Arrays, not joins: how many steps there are of a task is not known when this is planned, and steps joined with steps in
    -- a loop would cost ten thousand times ten thousand looks.
    v_deciders := array(select distinct s.made_by from tasker.steps s
                        where s.task_uuid = any (p_tasks) and s.made_by = any (p_steps));
    v_others := array(select s.step_uuid from tasker.steps s
                      where s.task_uuid = any (p_tasks) and s.expansion is not null and s.step_uuid <> all (p_steps));
    if v_deciders <> '{}' and v_others <> '{}' then
        with recursive below as (
            (select s.step_uuid as child from tasker.steps s
             where s.task_uuid = any (p_tasks) and s.made_by = any (v_deciders)
             union
             select c.child from tasker.steps s cross join unnest(s.children) as c (child)
             where s.task_uuid = any (p_tasks) and s.step_uuid = any (v_deciders))
            union
            select c.child from below b join tasker.steps s on s.step_uuid = b.child cross join unnest(s.children) as c (child)
        )
        select array_agg(child) into v_below from below;
    end if;
    select array_agg(s.step_uuid) into v_added from tasker.steps s
    where s.task_uuid = any (p_tasks)
      and (s.made_by = any (v_deciders) or (s.made_by = any (v_others) and s.step_uuid = any (v_below)));
    if v_added is not null then
        insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt, actor, reason)
        select s.task_uuid, s.step_uuid, s.state, 'cancelled', p_now, s.attempts, p_actor, 'what added it is run again'
        from tasker.steps s where s.step_uuid = any (v_added) and s.state <> 'cancelled';
        with recursive edge as materialized (
            select c.step_uuid as child, c.parents, u.parent from tasker.steps c cross join unnest(c.parents) as u (parent)
            where c.task_uuid = any (p_tasks) and c.step_uuid <> all (v_added) and u.parent = any (v_added)
        ), maker as (
            select s.step_uuid as gone, s.made_by as maker from tasker.steps s
            where s.step_uuid in (select parent from edge)
            union
            select m.gone, s.made_by from maker m join tasker.steps s on s.step_uuid = m.maker where m.maker = any (v_added)
        )
        select array_agg(l.child), array_agg(l.maker) into v_children, v_makers
        from (
            select distinct e.child, m.maker from edge e join maker m on m.gone = e.parent
            where m.maker <> all (v_added) and m.maker <> all (e.parents)
        ) l;
        select array_agg(distinct u.parent) into v_above
        from tasker.steps g cross join unnest(g.parents) as u (parent)
        where g.task_uuid = any (p_tasks) and g.step_uuid = any (v_added) and u.parent <> all (v_added);
        update tasker.tasks t
        set former_steps = (select json_object_agg(n.name, n.position)
                            from (select f.key as name, f.value::int as position from json_each_text(t.former_steps) f
                                  where f.key not in (select s.name from tasker.steps s where s.task_uuid = t.task_uuid)
                                  union all
                                  select s.name, s.position from tasker.steps s
                                  where s.task_uuid = t.task_uuid and s.step_uuid = any (v_added)) n)
        where t.task_uuid in (select s.task_uuid from tasker.steps s where s.step_uuid = any (v_added));
        delete from tasker.steps where step_uuid = any (v_added);
        update tasker.steps s
        set children = array(select c from unnest(s.children) c where c <> all (v_added))
                       || array(select l.child from unnest(v_children, v_makers) as l (child, maker) where l.maker = s.step_uuid),
            parents = array(select c from unnest(s.parents) c where c <> all (v_added))
                      || array(select l.maker from unnest(v_children, v_makers) as l (child, maker) where l.child = s.step_uuid),
            reads = array(select c from unnest(s.reads) c where c <> all (v_added))
        where s.task_uuid = any (p_tasks) and (s.step_uuid = any (p_steps) or s.step_uuid = any (v_above || v_makers));
    end if;
    with was as (
        select s.step_uuid, s.state from tasker.steps s where s.step_uuid = any (p_steps) and s.task_uuid = any (p_tasks)
    ), moved as (
        update tasker.steps s
        set state = 'pending', state_since = p_now, attempts = 0, worker = null, msg_id = null, retry_at = null,
            took_ms = null, result = null, error = null, checkpoint = null, expansion = null
        from was where s.step_uuid = was.step_uuid
        returning s.task_uuid, s.step_uuid, was.state as was
    )
    insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt, actor, reason)
    select task_uuid, step_uuid, was, 'pending', p_now, 0, p_actor, p_reason from moved where was <> 'pending';
    if v_added is not null then
        -- In the order in which it was said.
        for v_said in
            select s.task_uuid, s.step_uuid, s.expansion from tasker.steps s
            where s.task_uuid = any (p_tasks) and s.expansion is not null order by s.state_since, s.position
        loop
            perform tasker.steps_make(v_said.task_uuid, v_said.step_uuid, v_said.expansion);
        end loop;
    end if;
end
$$;
