-- The latest dead letter of the task $1, or the one with the uuid $2; with all that is known of it.
select d.dlq_entry_uuid, d.task_uuid, d.namespace, m.name as task_name, d.original_state, t.state as current_state,
       d.dlq_reason, d.dlq_timestamp, d.resolution_status, d.resolution_timestamp, d.resolution_notes, d.resolved_by,
       d.metadata, d.task_snapshot, d.updated_at
from tasker.dead_letters d
left join tasker.tasks t on t.task_uuid = d.task_uuid
left join tasker.templates m on m.template_id = t.template_id
where ($1::uuid is null or d.task_uuid = $1) and ($2::uuid is null or d.dlq_entry_uuid = $2)
order by d.dlq_timestamp desc, d.dlq_entry_uuid desc limit 1
