-- Writes the task $1 in the transaction that is open; null, or why it was not.
select tasker.task_create($1::text)
