-- The request $1 cannot be carried out, for the reason $2: it goes to the archive.
with refused as (
    delete from pgmq.q_orchestration_task_requests where msg_id = $1
    returning msg_id, read_ct, enqueued_at, vt, message, headers
)
insert into pgmq.a_orchestration_task_requests (msg_id, read_ct, enqueued_at, vt, message, headers)
select msg_id, read_ct, enqueued_at, vt, message, coalesce(headers, '{}') || jsonb_build_object('refused', $2::text::jsonb) from refused
