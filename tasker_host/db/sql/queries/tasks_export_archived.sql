-- The documents of archived tasks, in the order of their ends: of the namespace $1, ended before $2. Null does not filter.
select document from tasker.archived_tasks
where ($1::text is null or namespace = $1) and ($2::timestamptz is null or ended_at < $2)
order by namespace, ended_at, task_uuid
