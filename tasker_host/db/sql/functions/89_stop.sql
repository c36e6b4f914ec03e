-- Stops tasks as a whole: what waits is cancelled, what runs too with p_interrupt. Returns those that were stopped.

create or replace function tasker.tasks_stop(
    p_tasks uuid[], p_state text, p_actor text, p_reason text, p_interrupt boolean
) returns setof uuid
language plpgsql as $$
declare
    v_now timestamptz := tasker.now();
    v_tasks uuid[];
    v_change record;
begin
    perform from tasker.tasks where task_uuid = any (p_tasks) order by task_uuid for no key update;
    v_tasks := array(select task_uuid from tasker.tasks where task_uuid = any (p_tasks)
                     and state not in ('complete', 'error', 'cancelled', 'resolved_manually'));
    for v_change in
        with held as (
            select s.step_uuid, s.state, s.msg_id from tasker.steps s
            where s.task_uuid = any (v_tasks)
              and (s.state in ('pending', 'enqueued', 'waiting_for_retry') or p_interrupt and s.state = 'in_progress')
            for no key update
        ), moved as (
            update tasker.steps s set state = 'cancelled', state_since = v_now, worker = null, msg_id = null, retry_at = null
            from held h where s.step_uuid = h.step_uuid
            returning s.task_uuid, s.step_uuid, h.state as was, h.msg_id, s.attempts
        ), told as (
            insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt, actor, reason)
            select task_uuid, step_uuid, was, 'cancelled', v_now, attempts, p_actor, p_reason from moved
        )
        select t.namespace, array_agg(m.msg_id) as messages
        from moved m join tasker.tasks t on t.task_uuid = m.task_uuid where m.msg_id is not null group by t.namespace
    loop
        perform tasker.queue_apply(v_change.namespace, v_change.messages, null, null, null, null, null, null, null, null, null, null);
    end loop;
    return query
        with old as (select task_uuid, state from tasker.tasks where task_uuid = any (v_tasks)
        ), moved as (
            update tasker.tasks t
            set state = p_state, state_since = v_now, steps_retrying = 0,
                steps_active = (select count(*) from tasker.steps s where s.task_uuid = t.task_uuid and s.state = 'in_progress')
            from old o where t.task_uuid = o.task_uuid
            returning t.task_uuid, o.state as was
        ), told as (
            insert into tasker.task_history (task_uuid, from_state, to_state, at, actor, reason)
            select task_uuid, was, p_state, v_now, p_actor, p_reason from moved
        )
        select task_uuid from moved;
end
$$;
