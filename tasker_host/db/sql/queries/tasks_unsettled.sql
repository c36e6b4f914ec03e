-- Those of the tasks $1 that still go on by themselves.
select task_uuid from tasker.tasks
where task_uuid = any ($1::uuid[])
  and state not in ('complete', 'error', 'cancelled', 'resolved_manually', 'blocked_by_failures')
