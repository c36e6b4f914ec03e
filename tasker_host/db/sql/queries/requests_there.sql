-- Whether anything is to be done for those who wrote to the database themselves.
select exists (select from pgmq.q_orchestration_task_requests where vt <= clock_timestamp()) as requests,
       exists (select from tasker.unchecked) as unchecked
