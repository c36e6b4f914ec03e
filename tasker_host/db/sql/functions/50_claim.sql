-- Claiming: visible messages become leases, their steps `in_progress` with one attempt more.
--
-- No task row is waited for. Where a claim does change a counter (a retry or a start that came due, a poison step) its
-- task is taken with `skip locked` and left for the next round otherwise; the message then comes due again at once.

-- Leases up to p_limit steps of one namespace; returns those now running for p_worker and the tasks that ended by it.
create or replace function tasker.steps_take(
    p_worker text, p_namespace text, p_now timestamptz, p_until timestamptz, p_limit int,
    out steps uuid[], out ended uuid[]
)
language plpgsql
as $$
declare
    v_messages bigint[];
    v_steps uuid[];
    v_due boolean;
    v_stray bigint[];
    v_busy bigint[];
begin
    select array_agg(q.msg_id), array_agg(q.step_uuid), bool_or(q.was_due) into v_messages, v_steps, v_due
    from tasker.queue_take(p_namespace, p_now, p_until, p_limit) q;
    if v_messages is null then
        return;
    end if;

    if not v_due then
        -- The common case: fresh messages of queued steps, which change no counter.
        with moved as (
            update tasker.steps s
            set state = 'in_progress', state_since = p_now, attempts = s.attempts + 1, worker = p_worker
            from unnest(v_messages, v_steps) as m (msg_id, step_uuid)
            where s.step_uuid = m.step_uuid and s.state = 'enqueued' and s.msg_id = m.msg_id
            returning s.step_uuid, s.task_uuid, s.attempts, s.msg_id
        ), told as (
            insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt, worker)
            select task_uuid, step_uuid, 'enqueued', 'in_progress', p_now, attempts, p_worker from moved
        )
        select array_agg(moved.step_uuid), array_agg(moved.msg_id) into steps, v_busy from moved;
        v_stray := case when cardinality(v_busy) is distinct from cardinality(v_messages)
                        then array(select m from unnest(v_messages) m where m <> all (coalesce(v_busy, '{}'))) end;
        v_busy := null;
    else
        -- Something came due: a lease whose worker is gone, a retry, a start. Tasks first, in uuid order, then steps.
        with task as (
            select t.task_uuid, t.state, t.steps_total, t.steps_done, t.steps_active, t.steps_retrying, t.steps_failed
            from tasker.tasks t
            where t.task_uuid in (select s.task_uuid from tasker.steps s where s.step_uuid = any (v_steps))
            order by t.task_uuid for no key update skip locked
        ), held as (
            select s.step_uuid, s.task_uuid, s.state, s.attempts, s.max_attempts, s.msg_id, s.worker
            from unnest(v_messages, v_steps) as m (msg_id, step_uuid)
            join tasker.steps s on s.step_uuid = m.step_uuid and s.msg_id = m.msg_id
            where s.task_uuid in (select task_uuid from task)
              and s.state in ('enqueued', 'in_progress', 'waiting_for_retry')
            for no key update of s skip locked
        ), moved as (
            update tasker.steps s
            set state = case when h.poison then 'error' else 'in_progress' end, state_since = p_now,
                attempts = s.attempts + (not h.poison)::int, worker = case when not h.poison then p_worker end,
                msg_id = case when not h.poison then s.msg_id end, retry_at = null,
                error = case when h.poison then json_build_object(
                    'error_type', 'worker_lost', 'retryable', false,
                    'message', format('the worker %s vanished during attempt %s of %s', s.worker, s.attempts, s.max_attempts))
                    else s.error end
            from (select *, state = 'in_progress' and attempts >= max_attempts as poison from held) h
            where s.step_uuid = h.step_uuid
            returning s.step_uuid, s.task_uuid, h.state as was, s.state, s.attempts, s.msg_id, h.msg_id as old_msg_id,
                      h.worker as old_worker, s.error
        ), told as (
            insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt, worker, error, reason)
            select task_uuid, step_uuid, was, state, p_now, attempts,
                   case when state = 'error' then old_worker else p_worker end,
                   case when state = 'error' then error end,
                   case when was = 'in_progress' then 'worker_lost' end
            from moved
        ), changed as (
            select task_uuid, count(*) filter (where was = 'waiting_for_retry')::int as retries,
                   count(*) filter (where state = 'error')::int as failures
            from moved group by task_uuid
        ), task_moved as (
            update tasker.tasks t
            set steps_active = t.steps_active + c.retries - c.failures, steps_retrying = t.steps_retrying - c.retries,
                steps_failed = t.steps_failed + c.failures, state = c.new_state,
                state_since = case when t.state <> c.new_state then p_now else t.state_since end
            from (
                select c.*, o.state as old_state, tasker.task_state(
                    o.steps_total, o.steps_done, o.steps_active + c.retries - c.failures,
                    o.steps_retrying - c.retries, o.steps_failed + c.failures) as new_state
                from changed c join task o on o.task_uuid = c.task_uuid
            ) c
            where t.task_uuid = c.task_uuid
            returning t.task_uuid, c.old_state, t.state
        ), task_told as (
            insert into tasker.task_history (task_uuid, from_state, to_state, at)
            select task_uuid, old_state, state, p_now from task_moved where old_state <> state
        )
        select (select array_agg(step_uuid) from moved where state = 'in_progress'),
               (select array_agg(task_uuid) from task_moved where state in ('error', 'blocked_by_failures')),
               array(select m.msg_id from unnest(v_messages) as m (msg_id)
                     where not exists (select from moved where moved.msg_id = m.msg_id)
                       and not exists (select from tasker.steps s where s.step_uuid = any (v_steps) and s.msg_id = m.msg_id
                                       and s.state in ('enqueued', 'in_progress', 'waiting_for_retry')))
                || array(select old_msg_id from moved where state = 'error'),
               array(select s.msg_id from tasker.steps s
                     where s.step_uuid = any (v_steps) and s.msg_id = any (v_messages)
                       and s.state in ('enqueued', 'in_progress', 'waiting_for_retry')
                       and not exists (select from moved where moved.step_uuid = s.step_uuid))
        into steps, ended, v_stray, v_busy;
    end if;

    -- Messages without a step to run (its task was cancelled, or somebody else sent them) leave the queue; those whose
    -- task was locked come due again a moment later.
    if v_stray <> '{}' or v_busy <> '{}' then
        perform tasker.queue_apply(
            p_namespace, nullif(v_stray, '{}'), nullif(v_busy, '{}'),
            (select array_agg(p_now + interval '5 milliseconds') from unnest(v_busy)),
            null, null, null, null, null, null, null, null);
    end if;
end
$$;

-- The state of a task, given its counters. One home for this rule.
create or replace function tasker.task_state(p_total int, p_done int, p_active int, p_retrying int, p_failed int)
returns text language sql immutable parallel safe as $$
    select case
        when p_done = p_total then 'complete'
        when p_active > 0 then 'steps_in_process'
        when p_retrying > 0 then 'waiting_for_retry'
        when p_failed > 0 then 'blocked_by_failures'
        else 'waiting_for_dependencies'
    end
$$;

-- Takes up to p_want steps of these namespaces and says when the next message comes due.
-- summary: {"next_due": …, "ended": [task uuids]}
create or replace function tasker.steps_claim(p_worker text, p_namespaces text[], p_want int, p_lease interval)
returns setof tasker.claimed
language plpgsql
set plan_cache_mode = force_generic_plan
set jit = off                      -- before PostgreSQL 18 what is switched off here counts as cost, enough to compile
set enable_seqscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_now timestamptz := tasker.now();
    v_namespace text;
    v_order text[] := p_namespaces;
    v_next timestamptz;
    v_got record;
    v_steps uuid[] := '{}';
    v_ended uuid[] := '{}';
begin
    -- A claim that is lost in a crash was never made: its steps are still queued.
    perform set_config('synchronous_commit', 'off', true);
    if cardinality(p_namespaces) > 1 then
        -- The one whose work is oldest goes first: none starves behind another that never runs dry.
        v_order := array(
            select n.name from unnest(p_namespaces) as n (name) cross join lateral tasker.queue_next(n.name) q
            where q.first_rank is not null or q.next_due <= v_now order by q.first_rank nulls first);
    end if;
    foreach v_namespace in array v_order loop
        exit when cardinality(v_steps) >= p_want;
        select * into v_got from tasker.steps_take(
            p_worker, v_namespace, v_now, v_now + p_lease, p_want - cardinality(v_steps));
        v_steps := v_steps || coalesce(v_got.steps, '{}');
        v_ended := v_ended || coalesce(v_got.ended, '{}');
    end loop;
    foreach v_namespace in array p_namespaces loop
        v_next := least(v_next, (select q.next_due from tasker.queue_next(v_namespace) q));
    end loop;
    if v_steps <> '{}' then
        return query select * from tasker.claimed_rows(v_steps);
    end if;
    return next row(null, null, null, null, null, null, null, null, null, null, null, null, null, null,
                    json_build_object('next_due', extract(epoch from v_next - v_now), 'ended', v_ended))::tasker.claimed;
end
$$;
