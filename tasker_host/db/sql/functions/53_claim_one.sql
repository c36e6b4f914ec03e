-- Claiming one step that is named: for people who try something out. Nothing else is taken.

-- Leases this step to p_worker, if it is ready; one row as of a claim, and the last row, whose summary is {"refused": null, or why
-- not: "not_found", "limit" (no room under its limits), "held" (somebody takes it at this moment, or its start is still to come),
-- else the state that the step or its paused task is in}.
create or replace function tasker.step_claim(p_worker text, p_step uuid, p_lease interval) returns setof tasker.claimed
language plpgsql
set plan_cache_mode = force_custom_plan
as $$
declare
    v_now timestamptz := tasker.now();
    v_step record;
    v_refused text;
    v_is_free boolean;
    v_taken uuid[];
    v_told tid[];
begin
    select s.state, s.msg_id, t.namespace, t.state as task_state into v_step
    from tasker.steps s join tasker.tasks t on t.task_uuid = s.task_uuid where s.step_uuid = p_step;
    v_refused := case when not found then 'not_found'
                      when v_step.state <> 'enqueued' then v_step.state
                      when v_step.task_state = 'paused' then 'paused'
                      when exists (select from tasker.parked p where p.step_uuid = p_step) then 'limit' end;
    if v_refused is null then
        -- Its message first, as every claim does.
        execute format('select true from pgmq.%I where msg_id = $1 and vt <= $2 for update skip locked',
                       'q_' || v_step.namespace || '_queue') into v_is_free using v_step.msg_id, v_now;
        if v_is_free then
            with moved as (
                update tasker.steps s
                set state = 'in_progress', state_since = v_now, attempts = s.attempts + 1, worker = p_worker
                where s.step_uuid = p_step and s.state = 'enqueued' and s.msg_id = v_step.msg_id
                returning s.step_uuid, s.task_uuid, s.attempts
            ), told as (
                insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt, worker)
                select task_uuid, step_uuid, 'enqueued', 'in_progress', v_now, attempts, p_worker from moved
                returning ctid as place
            )
            select array_agg(step_uuid), (select array_agg(place) from told) into v_taken, v_told from moved;
        end if;
        if v_taken is null then
            v_refused := 'held';
        else
            perform tasker.queue_apply(v_step.namespace, null, array[v_step.msg_id], array[v_now + p_lease], null, null, null, v_now,
                                       null, null, null, null, null, null);
            select a.admitted into v_taken from tasker.steps_admit(v_taken, v_told, v_now, null) a;
            if v_taken = '{}' then
                v_refused := 'limit';
            end if;
        end if;
    end if;
    if v_refused is null then
        return query select * from tasker.claimed_rows(v_taken);
    end if;
    return next row(null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
                    json_build_object('refused', v_refused))::tasker.claimed;
end
$$;
