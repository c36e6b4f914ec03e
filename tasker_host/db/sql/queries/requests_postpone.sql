-- The request $1 is looked at again after $2 seconds.
update pgmq.q_orchestration_task_requests
set vt = clock_timestamp() + make_interval(secs => $2), read_ct = read_ct + 1 where msg_id = $1
