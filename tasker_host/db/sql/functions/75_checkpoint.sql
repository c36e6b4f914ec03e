-- Saves how far running steps have come, under the fence of their leases, which are pushed out; returns the steps that are
-- still this worker's. The attempt goes on. A checkpoint is what it was given, with its time and the last p_keep cursors.

create or replace function tasker.steps_checkpoint(
    p_worker text, p_namespace text[], p_step uuid[], p_attempt int[], p_message bigint[], p_checkpoint json[], p_keep int,
    p_lease interval
) returns setof uuid
language plpgsql as $$
declare
    v_now timestamptz := tasker.now();
    v_saved record;
begin
    for v_saved in
        with saved as (
            update tasker.steps s
            set checkpoint = (c.checkpoint::jsonb || jsonb_build_object(
                'timestamp', v_now,
                'history', (
                    select jsonb_agg(h.entry order by h.position) from (
                        select e.entry, e.position from jsonb_array_elements(
                            coalesce(s.checkpoint::jsonb -> 'history', '[]')
                            || jsonb_build_object('cursor', c.checkpoint -> 'cursor', 'timestamp', v_now))
                            with ordinality as e (entry, position)
                        order by e.position desc limit p_keep) h)))::json
            from unnest(p_namespace, p_step, p_attempt, p_message, p_checkpoint)
                as c (namespace, step_uuid, attempt, msg_id, checkpoint)
            where s.step_uuid = c.step_uuid and s.state = 'in_progress' and s.worker = p_worker and s.attempts = c.attempt
            returning s.step_uuid, c.namespace, c.msg_id
        )
        select namespace, array_agg(step_uuid) as steps, array_agg(msg_id) as messages from saved group by namespace
    loop
        perform tasker.queue_renew(v_saved.namespace, v_saved.messages, v_now + p_lease);
        return query select unnest(v_saved.steps);
    end loop;
end
$$;
