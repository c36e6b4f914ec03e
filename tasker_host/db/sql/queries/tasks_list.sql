-- A page of tasks, newest first. Filters that are null do not filter; $7 is the page size, $8 how many to skip.
select t.task_uuid, t.namespace, m.name, m.version, t.state as status, t.state_since, t.created_at, t.start_at,
       t.completed_at, t.priority, t.tags, t.initiator, t.source_system, t.reason,
       t.correlation_id, t.parent_correlation_id,
       t.steps_total as total_steps, t.steps_done as completed_steps, t.steps_failed as failed_steps,
       t.steps_active as active_steps, t.steps_retrying as retrying_steps, t.steps_forgiven as forgiven_steps
from tasker.tasks t
join tasker.templates m on m.template_id = t.template_id
where ($1::text is null or t.namespace = $1)
  and ($2::text is null or m.name = $2)
  and ($3::text is null or m.version = $3)
  and ($4::text[] is null or t.state = any ($4))
  and ($5::text is null or t.initiator = $5)
  and ($6::text is null or t.source_system = $6)
order by t.task_uuid desc
limit $7 offset $8
