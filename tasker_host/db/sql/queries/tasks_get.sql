-- Tasks by uuid ($1), as the API shows them.
select t.task_uuid, t.namespace, m.name, m.version, t.state as status, t.state_since, t.created_at, t.start_at,
       t.completed_at, t.deadline_at, t.priority, t.tags, t.context, t.initiator, t.source_system, t.reason,
       t.correlation_id, t.parent_correlation_id,
       t.steps_total as total_steps, t.steps_done as completed_steps, t.steps_failed as failed_steps,
       t.steps_active as active_steps, t.steps_retrying as retrying_steps, t.steps_forgiven as forgiven_steps,
       t.on_failure, case when t.state in ('error', 'paused', 'cancelled', 'resolved_manually') then (
           select json_build_object('reason', h.reason, 'actor', h.actor, 'at', h.at)
           from tasker.task_history h
           where h.task_uuid = t.task_uuid and h.to_state = t.state and h.reason is not null order by h.at desc limit 1)
       end as because
from tasker.tasks t
join tasker.templates m on m.template_id = t.template_id
where t.task_uuid = any ($1::uuid[])
