-- Looking at durable events without taking them: those that wait in the queue of a namespace, and those archived from it.

create or replace function tasker.events_look(
    p_namespace text, p_from bigint, p_to bigint, p_newest boolean, p_task uuid, p_limit int
) returns table (msg_id bigint, message text)
language plpgsql stable as $$
declare
    v_queue text := p_namespace || '_domain_events';
    v_order text := case when p_newest then 'desc' else 'asc' end;
    v_part text := format('(select msg_id, message from pgmq.%%I
                            where msg_id > $1 and msg_id < $2 and ($3 is null or message -> ''metadata'' ->> ''task_uuid'' = $3)
                            order by msg_id %s limit $4)', v_order);
begin
    if to_regclass(format('pgmq.%I', 'q_' || v_queue)) is null then
        return;
    end if;
    return query execute format(
        'select m.msg_id, m.message::text from (%s union all %s) m order by m.msg_id %s limit $4',
        format(v_part, 'q_' || v_queue), format(v_part, 'a_' || v_queue), v_order)
        using coalesce(p_from, 0), coalesce(p_to, 9223372036854775807), p_task::text, p_limit;
end
$$;
