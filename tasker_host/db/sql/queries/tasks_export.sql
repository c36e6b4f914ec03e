-- Whole tasks as JSON documents, oldest first: of the namespace $1, ended before $2. Null does not filter.
select tasker.task_document(t.task_uuid) as document
from tasker.tasks t
where ($1::text is null or t.namespace = $1)
  and ($2::timestamptz is null
       or t.state in ('complete', 'error', 'cancelled', 'resolved_manually') and t.state_since < $2)
order by t.task_uuid
