-- Pushes out the leases of running steps; returns those that are no longer this worker's and are to be stopped.

create or replace function tasker.steps_renew(
    p_worker text, p_namespace text[], p_step uuid[], p_attempt int[], p_message bigint[], p_lease interval
) returns setof uuid
language plpgsql
set plan_cache_mode = force_generic_plan
set jit = off                      -- before PostgreSQL 18 what is switched off here counts as cost, enough to compile
set enable_seqscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_until timestamptz := tasker.now() + p_lease;
    v_held record;
begin
    for v_held in
        with held as (
            -- Locked until the lease is pushed out: a finish in between would have its due time overwritten. What a
            -- finish has locked already is skipped: it is neither to be renewed nor lost.
            select s.step_uuid from tasker.steps s
            where s.step_uuid = any (p_step) and s.state = 'in_progress' and s.worker = p_worker
            for share skip locked
        )
        select r.namespace,
               array_agg(r.msg_id) filter (where s.attempts = r.attempt and h.step_uuid is not null) as ours,
               array_agg(r.step_uuid) filter (where not coalesce(
                   s.state = 'in_progress' and s.worker = p_worker and s.attempts = r.attempt, false)) as lost
        from unnest(p_namespace, p_step, p_attempt, p_message) as r (namespace, step_uuid, attempt, msg_id)
        left join tasker.steps s on s.step_uuid = r.step_uuid
        left join held h on h.step_uuid = r.step_uuid
        group by r.namespace
    loop
        if v_held.ours is not null then
            perform tasker.queue_renew(v_held.namespace, v_held.ours, v_until);
        end if;
        return query select unnest(v_held.lost);
    end loop;
end
$$;
