-- Requests $1 whose tasks are made.
delete from pgmq.q_orchestration_task_requests where msg_id = any ($1::bigint[])
