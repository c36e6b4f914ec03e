-- Pushes out the leases of all steps that a worker holds, for a worker that cannot say which these are because its
-- interpreter is held by a handler. Seldom called; it reads what is leased or due within a lease, by the index on vt.
-- Returns how many. The worker is shown as `blocked` until it beats again.

create or replace function tasker.worker_hold(p_worker text, p_namespaces text[], p_lease interval) returns int
language plpgsql
set jit = off
as $$
declare
    v_now timestamptz := tasker.now();
    v_namespace text;
    v_held int;
    v_all int := 0;
begin
    foreach v_namespace in array p_namespaces loop
        -- Locked rows are skipped, as in steps_renew: a call of the worker that is still under way knows better.
        execute format($f$
            with held as materialized (
                select w.msg_id from pgmq.%I w
                join tasker.steps s on s.step_uuid = tasker.message_step(w.message) and s.msg_id = w.msg_id
                where w.vt <= $1 and (w.headers -> 'rank') is null and s.state = 'in_progress' and s.worker = $2
                for update of w skip locked for share of s skip locked
            )
            update pgmq.%I q set vt = $1 from held where q.msg_id = held.msg_id $f$, 'q_' || v_namespace || '_queue', 'q_' || v_namespace || '_queue')
        using v_now + p_lease, p_worker;
        get diagnostics v_held = row_count;
        v_all := v_all + v_held;
    end loop;
    update tasker.workers set seen_at = v_now, state = 'blocked' where worker = p_worker;
    return v_all;
end
$$;
