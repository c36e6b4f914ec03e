-- A page of dead letters, newest first: with the status $1, the reason $2; null does not filter. $3 rows after $4.
select d.dlq_entry_uuid, d.task_uuid, d.namespace, m.name as task_name, d.original_state, t.state as current_state,
       d.dlq_reason, d.dlq_timestamp, d.resolution_status, d.resolution_timestamp, d.resolution_notes, d.resolved_by,
       d.metadata, d.task_snapshot, d.updated_at
from (select * from tasker.dead_letters
      where ($1::text is null or resolution_status = $1) and ($2::text is null or dlq_reason = $2)
      order by dlq_timestamp desc, dlq_entry_uuid desc limit $3 offset $4) d
left join tasker.tasks t on t.task_uuid = d.task_uuid
left join tasker.templates m on m.template_id = t.template_id
order by d.dlq_timestamp desc, d.dlq_entry_uuid desc
