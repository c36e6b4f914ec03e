-- Judging whole tasks anew, after what happens seldom: an operator's action, a batch that stops, a lost worker. It reads all
-- steps of the tasks; the hot path counts instead.

-- Brings tasks into agreement with their steps: what waits for whom, what is ready, the counters and the state. The caller
-- holds the tasks' locks. p_from are the states that history is to tell as the former ones (null: those in the rows).
-- Terminal and paused tasks keep their state, and nothing of them becomes ready.
create or replace function tasker.tasks_settle(
    p_tasks uuid[], p_from text[], p_now timestamptz, out work_for text[], out ended uuid[]
)
language plpgsql
set plan_cache_mode = force_custom_plan
set jit = off
as $$
declare
    v_change record;
begin
    work_for := '{}';
    update tasker.steps s set waits_on = w.open
    from (
        select c.step_uuid, count(*) filter (where not tasker.is_satisfied(p.state, p.if_failed))::int as open
        from tasker.steps c cross join unnest(c.parents) as u (parent) join tasker.steps p on p.step_uuid = u.parent
        where c.task_uuid = any (p_tasks) and c.state = 'pending' group by c.step_uuid
    ) w
    where s.step_uuid = w.step_uuid and s.waits_on <> w.open;

    for v_change in
        with ready as (
            update tasker.steps s
            set state = 'enqueued', state_since = p_now, msg_id = nextval(ns.queue_sequence)
            from tasker.tasks t join tasker.namespaces ns on ns.name = t.namespace
            where s.task_uuid = t.task_uuid and t.task_uuid = any (p_tasks) and s.state = 'pending' and s.waits_on = 0
              and t.state not in ('paused', 'complete', 'error', 'cancelled', 'resolved_manually')
            returning s.step_uuid, s.task_uuid, s.msg_id, s.attempts, s.lane, t.namespace, t.start_at,
                      t.rank - coalesce(s.priority, 0) * t.aging_us as rank
        ), told as (
            insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt)
            select task_uuid, step_uuid, 'pending', 'enqueued', p_now, attempts from ready
        )
        select namespace, array_agg(msg_id) as messages, array_agg(task_uuid) as tasks, array_agg(step_uuid) as steps,
               array_agg(greatest(start_at, p_now)) as vts, array_agg(case when start_at > p_now then null else rank end) as ranks,
               array_agg(lane) as lanes
        from ready group by namespace
    loop
        perform tasker.queue_apply(v_change.namespace, null, null, null, null, null, null, p_now, v_change.messages,
                                   v_change.tasks, v_change.steps, v_change.vts, v_change.ranks, v_change.lanes);
        work_for := work_for || v_change.namespace;
    end loop;

    with counted as (
        select task_uuid, count(*)::int as total,
               (count(*) filter (where state in ('complete', 'resolved_manually')))::int as done,
               (count(*) filter (where state = 'error' and coalesce(if_failed, '') = 'forgive'))::int as forgiven,
               (count(*) filter (where state in ('enqueued', 'in_progress', 'enqueued_for_orchestration',
                                                 'enqueued_as_error_for_orchestration')))::int as active,
               (count(*) filter (where state = 'waiting_for_retry'))::int as retrying,
               (count(*) filter (where state = 'error' and coalesce(if_failed, '') <> 'forgive'))::int as failed
        from tasker.steps where task_uuid = any (p_tasks) group by task_uuid
    ), judged as (
        select c.*, coalesce(f.was, t.state) as was,
               case when t.start_at > p_now and c.done + c.forgiven + c.retrying + c.failed = 0
                         and t.state not in ('paused', 'complete', 'error', 'cancelled', 'resolved_manually') then 'pending'
                    else tasker.task_state(t.state, t.on_failure, c.total, c.done + c.forgiven, c.active, c.retrying, c.failed)
               end as state
        from counted c join tasker.tasks t on t.task_uuid = c.task_uuid
        left join unnest(p_tasks, p_from) as f (task_uuid, was) on f.task_uuid = c.task_uuid
    ), moved as (
        update tasker.tasks t
        set steps_total = j.total, steps_done = j.done, steps_forgiven = j.forgiven, steps_active = j.active,
            steps_retrying = j.retrying, steps_failed = j.failed, state = j.state,
            state_since = case when j.was = j.state then t.state_since else p_now end,
            completed_at = case when j.state not in ('complete', 'error', 'cancelled', 'resolved_manually') then null
                                when j.was = j.state then coalesce(t.completed_at, p_now) else p_now end
        from judged j where t.task_uuid = j.task_uuid
        returning t.task_uuid, j.was, t.state
    ), told as (
        insert into tasker.task_history (task_uuid, from_state, to_state, at)
        select task_uuid, was, state, p_now from moved where was <> state
    )
    select array_agg(task_uuid) filter (where state in ('complete', 'error', 'blocked_by_failures')) into ended from moved;

    -- A task that failed as a whole runs none of its other steps.
    with stopped as (
        update tasker.steps s set state = 'cancelled', state_since = p_now
        from tasker.tasks t
        where s.task_uuid = t.task_uuid and t.task_uuid = any (p_tasks) and t.state = 'error' and s.state = 'pending'
        returning s.step_uuid, s.task_uuid, s.attempts
    )
    insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt, reason)
    select task_uuid, step_uuid, 'pending', 'cancelled', p_now, attempts, 'task failed' from stopped;
end
$$;

-- Locks the messages of steps, before the steps themselves as every claim does: no claim is between the two then, and what it
-- has taken is seen by the statement that follows. Before these, that they are parked: whoever frees room goes from there to
-- the message, and passes over what is locked.
create or replace function tasker.messages_lock(p_steps uuid[]) returns void
language plpgsql
set plan_cache_mode = force_custom_plan
as $$
declare
    v_held record;
begin
    perform from tasker.parked where step_uuid = any (p_steps) order by step_uuid for update;
    for v_held in
        select t.namespace, array_agg(s.msg_id) as messages
        from tasker.steps s join tasker.tasks t on t.task_uuid = s.task_uuid
        where s.step_uuid = any (p_steps) and s.msg_id is not null group by t.namespace order by t.namespace
    loop
        execute format('select from pgmq.%I where msg_id = any ($1) order by msg_id for update',
                       'q_' || v_held.namespace || '_queue') using v_held.messages;
    end loop;
end
$$;

-- Takes steps out of the queues, wherever they wait there, into a state in which they do not run; their tasks are locked and
-- will be settled by the caller.
create or replace function tasker.steps_withdraw(
    p_steps uuid[], p_state text, p_now timestamptz, p_actor text, p_reason text
) returns void
language plpgsql
set plan_cache_mode = force_custom_plan
as $$
declare
    v_change record;
    v_gone uuid[];
    v_turns uuid[];
begin
    perform tasker.messages_lock(p_steps);
    for v_change in
        with was as (
            select s.step_uuid, s.state, s.msg_id, s.worker from tasker.steps s
            where s.step_uuid = any (p_steps) order by s.step_uuid for no key update
        ), moved as (
            update tasker.steps s
            set state = p_state, state_since = p_now, worker = null, msg_id = null, retry_at = null, rate_at = null
            from was where s.step_uuid = was.step_uuid
            returning s.step_uuid, s.task_uuid, was.state as was, was.msg_id, s.attempts, was.worker
        ), told as (
            insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt, worker, actor, reason)
            select task_uuid, step_uuid, was, p_state, p_now, attempts, worker, p_actor, p_reason from moved
        )
        select t.namespace, array_agg(m.msg_id) filter (where m.msg_id is not null) as messages,
               array_agg(m.step_uuid) filter (where m.was = 'in_progress') as gone,
               array_agg(m.step_uuid) filter (where m.was = 'enqueued') as turns
        from moved m join tasker.tasks t on t.task_uuid = m.task_uuid group by t.namespace
    loop
        if v_change.messages is not null then
            perform tasker.queue_apply(v_change.namespace, v_change.messages, null, null, null, null, null, p_now,
                                       null, null, null, null, null, null);
        end if;
        v_gone := v_gone || v_change.gone;
        v_turns := v_turns || v_change.turns;
    end loop;
    perform tasker.limits_leave(coalesce(v_gone, '{}'), coalesce(v_turns, '{}'), p_now);
end
$$;

-- Of these steps, those that failed for good and stop their batch: their siblings are cancelled, running ones too.
create or replace function tasker.batches_stop(p_steps uuid[], p_now timestamptz) returns void
language plpgsql
set plan_cache_mode = force_custom_plan
as $$
declare
    v_siblings uuid[];
begin
    select array_agg(distinct o.step_uuid) into v_siblings
    from tasker.steps s join tasker.steps o
        on o.made_by = s.made_by and o.task_uuid = s.task_uuid and o.template_step = s.template_step
    where s.step_uuid = any (p_steps) and s.state = 'error' and s.if_failed = 'stop_batch'
      and o.state in ('pending', 'enqueued', 'in_progress', 'waiting_for_retry', 'enqueued_as_error_for_orchestration');
    if v_siblings is not null then
        perform tasker.steps_withdraw(v_siblings, 'cancelled', p_now, null, 'another of its batch failed');
    end if;
end
$$;
