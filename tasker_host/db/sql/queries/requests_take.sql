-- Up to $1 requests, locked until they are made or refused: others leave them alone, and find them again if that fails.
select msg_id, read_ct, message::text as message from pgmq.q_orchestration_task_requests
where vt <= clock_timestamp() order by msg_id limit $1 for update skip locked
