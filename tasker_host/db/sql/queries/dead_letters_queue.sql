-- Pending investigations, the most urgent first.
select * from tasker.v_dlq_investigation_queue order by priority_score desc, dlq_timestamp limit $1
