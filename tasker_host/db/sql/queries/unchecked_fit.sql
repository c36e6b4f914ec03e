-- The contexts of these tasks ($1) fit: they go on.
with checked as (delete from tasker.unchecked where task_uuid = any ($1::uuid[]))
select from tasker.tasks_operate('resume', $1, 'host', 'its context fits', '{}')
