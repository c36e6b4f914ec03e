-- What is taken away of events by age. A queue is walked from its oldest message on, so no message is read twice.

-- Takes away messages of the queue (with p_archived: of its archive) that are older than p_age, among the next p_limit of
-- those after message p_after. What a consumer holds just now stays. Returns how many, and the last message that was looked at;
-- null when there is nothing more that is old enough.
create or replace function tasker.queue_retain(
    p_queue text, p_archived boolean, p_age interval, p_after bigint, p_limit int, out taken int, out last bigint
)
language plpgsql as $$
declare
    v_before timestamptz := tasker.now() - p_age;
    v_table text := case when p_archived then 'a_' else 'q_' end || p_queue;
begin
    if to_regclass(format('pgmq.%I', v_table)) is null then
        taken := 0;
        return;
    end if;
    execute format($f$
        with looked as (
            select m.msg_id, %2$s as at, m.vt from pgmq.%1$I m where m.msg_id > $2 order by m.msg_id limit $3
        ), gone as (
            delete from pgmq.%1$I q using looked l
            where q.msg_id = l.msg_id and l.at < $1 and ($4 or l.vt <= tasker.now())
            returning 1
        )
        select (select count(*) from gone), case when min(at) < $1 and count(*) = $3 then max(msg_id) end from looked $f$,
        v_table, case when p_archived then 'm.archived_at' else 'm.enqueued_at' end)
    into taken, last using v_before, p_after, p_limit, p_archived;
end
$$;

-- Queues of events that nobody but consumers outside reads: of namespaces and of bindings.
create or replace function tasker.event_queues() returns setof text
language sql stable as $$
    select n.name || '_domain_events' from tasker.namespaces n
    union select b.queue from tasker.event_bindings b where b.relay is null
$$;

-- Forgets what consumers did before; how many events.
create or replace function tasker.consumed_retain(p_age interval) returns int
language plpgsql as $$
declare
    v_gone int := 0;
    v_now int;
begin
    loop
        delete from tasker.consumed_events c using (
            select consumer, event_id from tasker.consumed_events where consumed_at < tasker.now() - p_age limit 10000) old
        where c.consumer = old.consumer and c.event_id = old.event_id;
        get diagnostics v_now = row_count;
        v_gone := v_gone + v_now;
        exit when v_now < 10000;
    end loop;
    return v_gone;
end
$$;
