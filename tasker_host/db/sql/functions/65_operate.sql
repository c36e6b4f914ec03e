-- What operators do to tasks and steps. Each call locks the tasks in uuid order, tells who did it and why in the history, and
-- settles the tasks in the same transaction: a repaired task goes on by itself.
--
-- Both return a row for each task or step asked for: what it was, what it is, or why nothing was changed (`refused`); the
-- namespaces that got work come with every row.

create or replace function tasker.tasks_stop(
    p_tasks uuid[], p_state text, p_actor text, p_reason text, p_interrupt boolean
) returns uuid[]
language plpgsql
set plan_cache_mode = force_custom_plan
as $$
-- Brings tasks that are not over into the terminal state p_state: nothing of them starts any more, what waits is cancelled.
-- Running steps end on their own, and what they come to is kept, unless p_interrupt: then they are cancelled too, and their
-- results refused. Returns the tasks that were stopped.
declare
    v_now timestamptz := tasker.now();
    v_tasks uuid[];
    v_from text[];
begin
    select array_agg(task_uuid), array_agg(state) into v_tasks, v_from
    from (select task_uuid, state from tasker.tasks where task_uuid = any (p_tasks)
              and state not in ('complete', 'error', 'cancelled', 'resolved_manually')
          order by task_uuid for no key update) t;
    if v_tasks is null then
        return '{}';
    end if;
    update tasker.tasks t set state = p_state, state_since = v_now, completed_at = v_now where task_uuid = any (v_tasks);
    insert into tasker.task_history (task_uuid, from_state, to_state, at, actor, reason)
    select o.task, o.was, p_state, v_now, p_actor, p_reason from unnest(v_tasks, v_from) as o (task, was);
    -- What a claim is taking runs then.
    perform tasker.messages_lock(array(
        select step_uuid from tasker.steps
        where task_uuid = any (v_tasks) and state in ('enqueued', 'waiting_for_retry')));
    perform tasker.steps_withdraw(array(
        select step_uuid from tasker.steps where task_uuid = any (v_tasks)
          and (state in ('pending', 'enqueued', 'waiting_for_retry')
               or (p_interrupt and state in ('in_progress', 'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration')))),
        'cancelled', v_now, p_actor, p_reason);
    perform tasker.steps_apply_held(v_tasks, v_now);
    perform tasker.tasks_settle(v_tasks, null, v_now);
    return v_tasks;
end
$$;

-- What ended while its task was paused comes to its end now.
create or replace function tasker.steps_apply_held(p_tasks uuid[], p_now timestamptz) returns void
language plpgsql
set plan_cache_mode = force_custom_plan
as $$
declare
    v_change record;
begin
    for v_change in
        with moved as (
            update tasker.steps s
            set state = h.new_state, state_since = p_now,
                msg_id = case when h.new_state = 'waiting_for_retry' then nextval(h.queue_sequence) end
            from (
                select o.step_uuid, o.state, t.namespace, ns.queue_sequence,
                       case when o.state = 'enqueued_for_orchestration' then 'complete'
                            when o.retry_at is null or t.state in ('complete', 'error', 'cancelled', 'resolved_manually')
                                then 'error'
                            else 'waiting_for_retry' end as new_state
                from tasker.steps o
                join tasker.tasks t on t.task_uuid = o.task_uuid
                join tasker.namespaces ns on ns.name = t.namespace
                where o.task_uuid = any (p_tasks)
                  and o.state in ('enqueued_for_orchestration', 'enqueued_as_error_for_orchestration')
            ) h
            where s.step_uuid = h.step_uuid
            returning s.step_uuid, s.task_uuid, s.msg_id, s.attempts, s.state, h.state as was, s.retry_at, h.namespace
        ), told as (
            insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt)
            select task_uuid, step_uuid, was, state, p_now, attempts from moved
        )
        select namespace, array_agg(msg_id) as messages, array_agg(task_uuid) as tasks, array_agg(step_uuid) as steps,
               array_agg(greatest(retry_at, p_now)) as vts
        from moved where state = 'waiting_for_retry' group by namespace
    loop
        perform tasker.queue_apply(v_change.namespace, null, null, null, null, null, null, p_now, v_change.messages,
                                   v_change.tasks, v_change.steps, v_change.vts, null, null);
    end loop;
end
$$;

-- p_action: cancel, pause, resume, resolve_manually, rerun. p_options: {"running": "finish" | "interrupt"} of a cancel,
-- {"from": [step names]} of a rerun (without: all its steps in error or cancelled).
create or replace function tasker.tasks_operate(
    p_action text, p_tasks uuid[], p_actor text, p_reason text, p_options json
) returns table (task_uuid uuid, from_state text, to_state text, refused text, work_for text[])
language plpgsql
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_tasks uuid[];
    v_from text[];
    v_asked uuid[];
    v_was text[];
    v_why text[];
    v_steps uuid[];
    v_change record;
    v_left text[] := '{}';
    v_more text[];
begin
    if p_action not in ('cancel', 'pause', 'resume', 'resolve_manually', 'rerun') then
        raise exception 'no action % on tasks', p_action;
    end if;
    select array_agg(u.task_uuid order by u.position), array_agg(t.state order by u.position),
           array_agg(case when t.state is null then 'not_found'
                          when tasker.operator_move('task', t.state, p_action) is null then 'illegal' end order by u.position)
    into v_asked, v_was, v_why
    from unnest(p_tasks) with ordinality as u (task_uuid, position)
    left join (select o.task_uuid, o.state from tasker.tasks o where o.task_uuid = any (p_tasks)
               order by o.task_uuid for no key update) t on t.task_uuid = u.task_uuid;
    select array_agg(a.task), array_agg(a.was) into v_tasks, v_from
    from unnest(v_asked, v_was, v_why) as a (task, was, why) where a.why is null;

    if v_tasks is null then
        null;
    elsif p_action = 'cancel' then
        perform tasker.tasks_stop(v_tasks, 'cancelled', p_actor, p_reason, p_options ->> 'running' = 'interrupt');
    elsif p_action = 'resolve_manually' then
        perform tasker.tasks_stop(v_tasks, 'resolved_manually', p_actor, p_reason, true);
        -- Also those that were over already.
        with moved as (
            update tasker.tasks t set state = 'resolved_manually', state_since = v_now
            where t.task_uuid = any (v_tasks) and t.state <> 'resolved_manually' returning t.task_uuid)
        insert into tasker.task_history (task_uuid, from_state, to_state, at, actor, reason)
        select m.task_uuid, f.was, 'resolved_manually', v_now, p_actor, p_reason
        from moved m join unnest(v_tasks, v_from) as f (task, was) on f.task = m.task_uuid;
    elsif p_action = 'pause' then
        -- What a claim is taking runs on, under its lease.
        perform tasker.messages_lock(array(
            select s.step_uuid from tasker.steps s
            where s.task_uuid = any (v_tasks) and s.state in ('enqueued', 'waiting_for_retry')));
        for v_change in
            select t.namespace, array_agg(s.msg_id) as messages, array_agg('infinity'::timestamptz) as forever,
                   array_agg(s.step_uuid) filter (where s.state = 'enqueued') as steps
            from tasker.steps s join tasker.tasks t on t.task_uuid = s.task_uuid
            where s.task_uuid = any (v_tasks) and s.state in ('enqueued', 'waiting_for_retry') and s.msg_id is not null
            group by t.namespace
        loop
            perform tasker.queue_apply(v_change.namespace, null, v_change.messages, v_change.forever, null, null, null, v_now,
                                       null, null, null, null, null, null);
            perform tasker.limits_leave('{}', v_change.steps, v_now);
        end loop;
        update tasker.tasks t set state = 'paused', state_since = v_now where t.task_uuid = any (v_tasks);
        insert into tasker.task_history (task_uuid, from_state, to_state, at, actor, reason)
        select f.task, f.was, 'paused', v_now, p_actor, p_reason from unnest(v_tasks, v_from) as f (task, was);
    elsif p_action = 'resume' then
        update tasker.tasks t set state = 'evaluating_results' where t.task_uuid = any (v_tasks);
        perform tasker.steps_apply_held(v_tasks, v_now);
        for v_change in
            select t.namespace,
                   array_agg(s.msg_id) filter (where d.due > v_now) as delayed,
                   array_agg(d.due) filter (where d.due > v_now) as until,
                   array_agg(s.msg_id) filter (where d.due <= v_now and s.state = 'enqueued') as readied,
                   array_agg(t.rank - coalesce(s.priority, 0) * t.aging_us)
                       filter (where d.due <= v_now and s.state = 'enqueued') as ranks,
                   array_agg(s.lane) filter (where d.due <= v_now and s.state = 'enqueued') as lanes,
                   -- A retry that is overdue comes due now.
                   array_agg(s.msg_id) filter (where d.due <= v_now and s.state = 'waiting_for_retry') as overdue
            from tasker.steps s join tasker.tasks t on t.task_uuid = s.task_uuid
            cross join lateral (select coalesce(greatest(s.retry_at, s.rate_at, t.start_at), v_now) as due) d
            where s.task_uuid = any (v_tasks) and s.state in ('enqueued', 'waiting_for_retry') and s.msg_id is not null
            group by t.namespace
        loop
            perform tasker.queue_apply(
                v_change.namespace, null, v_change.delayed || v_change.overdue,
                v_change.until || array(select v_now from unnest(v_change.overdue)), v_change.readied, v_change.ranks,
                v_change.lanes, v_now, null, null, null, null, null, null);
            v_left := v_left || v_change.namespace;
        end loop;
        select s.work_for into v_more from tasker.tasks_settle(v_tasks, v_from, v_now) s;
        v_left := v_left || v_more;
        update tasker.task_history h set actor = p_actor, reason = p_reason
        where h.task_uuid = any (v_tasks) and h.at = v_now and h.from_state = 'paused';
    else
        -- rerun: the named steps, or those in error; what was cancelled, in any case; and everything below these.
        with recursive again as (
            select s.step_uuid, s.children from tasker.steps s
            where s.task_uuid = any (v_tasks)
              and (s.state = 'cancelled' or case when p_options -> 'from' is null then s.state = 'error'
                       else s.name in (select json_array_elements_text(p_options -> 'from')) end)
            union
            select c.step_uuid, c.children from again a
            cross join lateral (select unnest(a.children)
                                union select m.step_uuid from tasker.steps m where m.made_by = a.step_uuid) below (child)
            join tasker.steps c on c.step_uuid = below.child
        )
        select array_agg(step_uuid) into v_steps from again;
        v_why := array(
            select case
                when a.why is not null then a.why
                when exists (select from tasker.steps s where s.task_uuid = a.task and s.step_uuid = any (v_steps)
                             and s.state in ('enqueued', 'in_progress', 'waiting_for_retry')) then 'running'
                when not exists (select from tasker.steps s where s.task_uuid = a.task and s.step_uuid = any (v_steps))
                     or exists (select from json_array_elements_text(p_options -> 'from') f
                                where not exists (select from tasker.steps s where s.task_uuid = a.task and s.name = f))
                    then 'no_such_step' end
            from unnest(v_asked, v_why) with ordinality as a (task, why, position) order by a.position);
        select array_agg(a.task), array_agg(a.was) into v_tasks, v_from
        from unnest(v_asked, v_was, v_why) as a (task, was, why) where a.why is null;
        if v_tasks is not null then
            perform tasker.steps_rerun(v_tasks, v_steps, v_now, p_actor, p_reason);
            update tasker.tasks t set state = 'evaluating_results' where t.task_uuid = any (v_tasks);
            select s.work_for into v_left from tasker.tasks_settle(v_tasks, v_from, v_now) s;
            update tasker.task_history h set actor = p_actor, reason = p_reason
            from unnest(v_tasks, v_from) as f (task, was)
            where h.task_uuid = f.task and h.at = v_now and h.from_state = f.was;
        end if;
    end if;
    return query
        select a.task, a.was, t.state, a.why, v_left
        from unnest(v_asked, v_was, v_why) with ordinality as a (task, was, why, position)
        left join tasker.tasks t on t.task_uuid = a.task order by a.position;
end
$$;

-- p_action: reset_for_retry, resolve_manually, complete_manually (with p_value, the step's value). p_expand is what the only
-- step, a decision or an analyzer, adds by that (see steps_expand), unless it is done and has decided already.
create or replace function tasker.steps_operate(
    p_action text, p_steps uuid[], p_value json, p_actor text, p_reason text, p_expand json default null
) returns table (step_uuid uuid, task_uuid uuid, from_state text, to_state text, refused text, work_for text[])
language plpgsql
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_asked uuid[];
    v_of uuid[];
    v_was text[];
    v_why text[];
    v_steps uuid[];
    v_tasks uuid[];
    v_from text[];
    v_to text;
    v_left text[];
begin
    if p_action not in ('reset_for_retry', 'resolve_manually', 'complete_manually') then
        raise exception 'no action % on steps', p_action;
    end if;
    perform from tasker.tasks t
    where t.task_uuid in (select s.task_uuid from tasker.steps s where s.step_uuid = any (p_steps))
    order by t.task_uuid for no key update;
    select array_agg(u.step_uuid order by u.position), array_agg(s.task_uuid order by u.position),
           array_agg(s.state order by u.position),
           array_agg(case when s.state is null then 'not_found'
                          when t.state in ('complete', 'cancelled', 'resolved_manually') then 'task_over'
                          when tasker.operator_move('step', s.state, p_action) is null then 'illegal'
                          when p_expand is not null and p_action = 'complete_manually'
                               and s.state in ('complete', 'resolved_manually', 'enqueued_for_orchestration') then 'decided' end
                     order by u.position)
    into v_asked, v_of, v_was, v_why
    from unnest(p_steps) with ordinality as u (step_uuid, position)
    left join tasker.steps s on s.step_uuid = u.step_uuid
    left join tasker.tasks t on t.task_uuid = s.task_uuid;
    select array_agg(a.step), array_agg(distinct a.task) into v_steps, v_tasks
    from unnest(v_asked, v_of, v_why) as a (step, task, why) where a.why is null;

    if v_steps is not null then
        v_to := case p_action when 'reset_for_retry' then 'pending' when 'complete_manually' then 'complete'
                else 'resolved_manually' end;
        perform tasker.steps_withdraw(v_steps, v_to, v_now, p_actor, p_reason);
        update tasker.steps s
        set attempts = case when p_action = 'reset_for_retry' then 0 else s.attempts end,
            result = case p_action when 'complete_manually' then p_value else null end,
            error = case when p_action = 'reset_for_retry' then null else s.error end
        where s.step_uuid = any (v_steps);
        if p_expand is not null and v_was[1] not in ('complete', 'resolved_manually', 'enqueued_for_orchestration') then
            update tasker.steps set expansion = p_expand where step_uuid = v_steps[1] and p_expand -> 'is_shared' is not null;
            perform tasker.steps_make(v_tasks[1], v_steps[1], p_expand);
        end if;
        select array_agg(t.state order by o.position) into v_from
        from unnest(v_tasks) with ordinality as o (task, position) join tasker.tasks t on t.task_uuid = o.task;
        -- What was cancelled because the task, or another of its batch, had failed may run again; not while one of its batch
        -- is in error still.
        with failed as materialized (
            select distinct s.made_by, s.template_step from tasker.steps s
            where s.task_uuid = any (v_tasks) and s.state = 'error' and s.if_failed = 'stop_batch'
        ), again as (
            update tasker.steps s set state = 'pending', state_since = v_now
            where s.task_uuid = any (v_tasks) and s.state = 'cancelled'
              and (s.made_by is null or (s.made_by, s.template_step) not in (select made_by, template_step from failed))
            returning s.task_uuid, s.step_uuid, s.attempts)
        insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt, actor, reason)
        select a.task_uuid, a.step_uuid, 'cancelled', 'pending', v_now, a.attempts, p_actor, 'task repaired' from again a;
        update tasker.tasks t set state = 'evaluating_results'
        where t.task_uuid = any (v_tasks) and t.state <> 'paused';
        select s.work_for into v_left from tasker.tasks_settle(v_tasks, v_from, v_now) s;
    end if;
    return query
        select a.step, a.task, a.was, s.state, a.why, coalesce(v_left, '{}')
        from unnest(v_asked, v_of, v_was, v_why) with ordinality as a (step, task, was, why, position)
        left join tasker.steps s on s.step_uuid = a.step order by a.position;
end
$$;
