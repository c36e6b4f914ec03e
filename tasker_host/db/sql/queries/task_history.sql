-- Everything that happened to the task $1, in order: moves of the task itself (no step) and of its steps.
select h.at, null::uuid as step_uuid, null::text as step_name, h.from_state, h.to_state, null::int as attempt,
       null::text as worker, null::float8 as took_ms, null::json as error, h.actor, h.reason
from tasker.task_history h where h.task_uuid = $1
union all
select h.at, h.step_uuid, coalesce(s.name, f.name), h.from_state, h.to_state, h.attempt, h.worker, h.took_ms, h.error, h.actor, h.reason
from tasker.step_history h left join tasker.steps s on s.step_uuid = h.step_uuid
left join (
    -- Steps that went when what had added them was run again.
    select (left(t.task_uuid::text, 30) || lpad(to_hex(f.value::int), 6, '0'))::uuid as step_uuid, f.key as name
    from tasker.tasks t cross join json_each_text(t.former_steps) f where t.task_uuid = $1
) f on f.step_uuid = h.step_uuid
where h.task_uuid = $1
order by at, step_uuid nulls first
