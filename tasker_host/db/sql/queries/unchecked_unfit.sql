-- The contexts of these tasks ($1) do not fit, for the reasons $2: they end in error.
with checked as (delete from tasker.unchecked where task_uuid = any ($1::uuid[]))
select tasker.tasks_stop(array[o.task], 'error', 'host', o.why, false) from unnest($1::uuid[], $2::text[]) as o (task, why)
