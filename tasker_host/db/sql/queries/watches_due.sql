-- The first of the watched tasks whose time to be looked at has come.
select task_uuid from tasker.watches where look_at <= tasker.now() order by look_at, task_uuid limit 1
