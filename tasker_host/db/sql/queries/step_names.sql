select name from tasker.steps where task_uuid = $1 order by position
