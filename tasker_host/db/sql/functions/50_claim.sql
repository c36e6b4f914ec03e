-- Claiming: visible messages become leases, their steps `in_progress` with one attempt more.
--
-- No task row is waited for. Where a claim does change a counter (a retry or a start that came due, a poison step) its
-- task is taken with `skip locked` and left for the next round otherwise; the message then comes due again at once.

-- Whether a worker lives that has room and would serve this step, beside the one that failed it.
create or replace function tasker.others_serve(p_step tasker.steps, p_namespace text, p_now timestamptz) returns boolean
language sql stable as $$
    select exists (
        select from tasker.workers w
        where w.worker <> p_step.worker and w.state = 'running' and w.running < w.slots
          and w.seen_at > p_now - 3 * w.beats_every and p_namespace = any (w.namespaces)
          and tasker.queue_fits(p_step.lane, nullif(w.tags, '{}'))
          and not exists (
              select from json_array_elements(w.unserved) u
              join tasker.tasks t on t.task_uuid = p_step.task_uuid and t.template_id = (u ->> 'template_id')::int
              where u ->> 'step' = p_step.template_step))
$$;

-- Leases up to p_limit steps of one namespace; returns those now running for p_worker and the tasks that ended by it.
create or replace function tasker.steps_take(
    p_worker text, p_namespace text, p_now timestamptz, p_until timestamptz, p_limit int, p_tags text[],
    out steps uuid[], out ended uuid[], out left_work boolean
)
language plpgsql
as $$
declare
    v_messages bigint[];
    v_steps uuid[];
    v_due boolean;
    v_fixed boolean := exists (select from tasker.limits where is_fixed);
    v_fresh uuid[];              -- now running that did not run before and may be limited: these ask for room
    v_told tid[];                -- rows of the history that may be theirs
    v_keys text[];               -- the business key of each, where each has just one and nothing else limits them
    v_poison uuid[];             -- steps
    v_gone uuid[];               -- steps that gave up their room
    v_turns uuid[];              -- steps that had come back for room and will not run
    v_back text[];               -- namespaces with steps that had waited for that room
    v_tasks uuid[];
    v_stray bigint[];
    v_busy bigint[];
    v_alien bigint[];
    v_alien_rank bigint[];
    v_alien_lane text[];
    v_limited boolean;
    v_done uuid[];
begin
    select array_agg(q.msg_id), array_agg(q.step_uuid), bool_or(q.was_due) into v_messages, v_steps, v_due
    from tasker.queue_take(p_namespace, p_now, p_until, p_limit, p_tags) q;
    if v_messages is null then
        return;
    end if;

    if not v_due then
        -- The common case: fresh messages of queued steps, which change no counter.
        with moved as (
            update tasker.steps s
            set state = 'in_progress', state_since = p_now, attempts = s.attempts + 1, worker = p_worker
            from unnest(v_messages, v_steps) as m (msg_id, step_uuid), tasker.tasks t
            where s.step_uuid = m.step_uuid and s.state = 'enqueued' and s.msg_id = m.msg_id and t.task_uuid = s.task_uuid
            returning s.step_uuid, s.task_uuid, s.attempts, s.msg_id,
                      coalesce(tasker.keys_as_text(s.limit_keys), t.limit_key) as keyed
        ), told as (
            insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt, worker)
            select task_uuid, step_uuid, 'enqueued', 'in_progress', p_now, attempts, p_worker from moved
            returning ctid as place
        )
        select array_agg(moved.step_uuid), array_agg(moved.msg_id), array_agg(moved.step_uuid) filter (where v_fixed or keyed is not null),
               case when v_fixed or bool_or(keyed is not null) then (select array_agg(place) from told) end,
               case when not v_fixed and bool_and(keyed not like '{%')
                    then array_agg(keyed) filter (where keyed is not null) end
        into steps, v_busy, v_fresh, v_told, v_keys from moved;
        v_stray := case when cardinality(v_busy) is distinct from cardinality(v_messages)
                        then array(select m from unnest(v_messages) m where m <> all (coalesce(v_busy, '{}'))) end;
        v_busy := null;
    else
        -- Something came due: a lease whose worker is gone, a retry, a start. Tasks first, in uuid order, then steps.
        with task as (
            select t.task_uuid, t.state, t.on_failure, t.steps_total, t.steps_done + t.steps_forgiven as satisfied,
                   t.steps_active, t.steps_retrying, t.steps_failed, t.rank, t.aging_us, t.limit_key is not null as is_keyed,
                   t.state in ('complete', 'error', 'cancelled', 'resolved_manually') as is_over
            from tasker.tasks t
            where t.task_uuid in (select s.task_uuid from tasker.steps s where s.step_uuid = any (v_steps))
            order by t.task_uuid for no key update skip locked
        ), held as (
            select s.step_uuid, s.task_uuid, s.state, s.attempts, s.max_attempts, s.msg_id, s.worker
            from unnest(v_messages, v_steps) as m (msg_id, step_uuid)
            join tasker.steps s on s.step_uuid = m.step_uuid and s.msg_id = m.msg_id
            where s.task_uuid in (select task_uuid from task)
              and s.state in ('enqueued', 'in_progress', 'waiting_for_retry')
              -- What failed here is left to others for a moment, as if its task were locked.
              and (s.state = 'waiting_for_retry' and s.worker = p_worker and p_now < s.retry_at + interval '20 milliseconds'
                   and tasker.others_serve(s, p_namespace, p_now)) is not true
            for no key update of s skip locked
        ), judged as (
            select h.*, t.is_over, t.is_keyed,
                   case when t.is_over then 'cancelled'
                        when h.state = 'in_progress' and h.attempts >= h.max_attempts then 'error'
                        when t.state = 'paused' or not tasker.queue_fits(s.lane, p_tags) then 'enqueued'
                        else 'in_progress' end as new_state,
                   t.state = 'paused' as is_paused
            from held h join task t on t.task_uuid = h.task_uuid join tasker.steps s on s.step_uuid = h.step_uuid
        ), moved as (
            update tasker.steps s
            set state = h.new_state, state_since = p_now, attempts = s.attempts + (h.new_state = 'in_progress')::int,
                worker = case when h.new_state = 'in_progress' then p_worker end,
                msg_id = case when h.new_state in ('in_progress', 'enqueued') then s.msg_id end, retry_at = null,
                error = case when h.new_state = 'error' then json_build_object(
                    'error_type', 'worker_lost', 'retryable', false,
                    'message', format('the worker %s vanished during attempt %s of %s', s.worker, s.attempts, s.max_attempts))
                    else s.error end
            from judged h
            where s.step_uuid = h.step_uuid
            returning s.step_uuid, s.task_uuid, h.state as was, s.state, s.attempts, h.msg_id, h.worker as old_worker, s.error,
                      h.is_keyed or s.limit_keys is not null as is_keyed, s.lane, s.priority, h.is_over, h.is_paused
        ), told as (
            insert into tasker.step_history (task_uuid, step_uuid, from_state, to_state, at, attempt, worker, error, reason)
            select task_uuid, step_uuid, was, state, p_now, attempts,
                   case when state = 'error' then old_worker when state = 'in_progress' then p_worker end,
                   case when state = 'error' then error end,
                   case when was = 'in_progress' then 'worker_lost' end
            from moved
            where was <> state or was = 'in_progress'
            returning ctid as place
        ), changed as (
            -- A step in error is judged with its whole task, below.
            select task_uuid, count(*) filter (where was = 'waiting_for_retry' and state <> 'cancelled')::int as retries,
                   count(*) filter (where was = 'waiting_for_retry' and state = 'cancelled')::int as stopped_retries,
                   count(*) filter (where was <> 'waiting_for_retry' and state = 'cancelled')::int as stopped
            from moved group by task_uuid
        ), task_moved as (
            update tasker.tasks t
            set steps_active = t.steps_active + c.retries - c.stopped,
                steps_retrying = t.steps_retrying - c.retries - c.stopped_retries,
                state = c.new_state, state_since = case when t.state <> c.new_state then p_now else t.state_since end
            from (
                select c.*, o.state as old_state, tasker.task_state(
                    o.state, o.on_failure, o.steps_total, o.satisfied, o.steps_active + c.retries - c.stopped,
                    o.steps_retrying - c.retries - c.stopped_retries, o.steps_failed) as new_state
                from changed c join task o on o.task_uuid = c.task_uuid
            ) c
            where t.task_uuid = c.task_uuid
            returning t.task_uuid, c.old_state, t.state
        ), task_told as (
            insert into tasker.task_history (task_uuid, from_state, to_state, at)
            select task_uuid, old_state, state, p_now from task_moved where old_state <> state
        )
        select (select array_agg(step_uuid) from moved where state = 'in_progress'),
               (select array_agg(step_uuid) from moved
                where state = 'in_progress' and was <> 'in_progress' and (is_keyed or v_fixed)),
               (select array_agg(place) from told),
               (select bool_or(is_keyed) from moved),
               (select array_agg(step_uuid) from moved where state = 'error'),
               (select array_agg(distinct task_uuid) from moved where state = 'error'),
               (select array_agg(step_uuid) from moved where was = 'in_progress' and state <> 'in_progress'),
               (select array_agg(step_uuid) from moved where was = 'enqueued' and state = 'cancelled'),
               (select array_agg(msg_id) from moved where state = 'enqueued' and not is_paused),
               (select array_agg(t.rank - coalesce(m.priority, 0) * t.aging_us) from moved m
                join task t on t.task_uuid = m.task_uuid where m.state = 'enqueued' and not m.is_paused),
               (select array_agg(lane) from moved where state = 'enqueued' and not is_paused),
               array(select m.msg_id from unnest(v_messages) as m (msg_id)
                     where not exists (select from moved where moved.msg_id = m.msg_id)
                       and not exists (select from tasker.steps s where s.step_uuid = any (v_steps) and s.msg_id = m.msg_id
                                       and s.state in ('enqueued', 'in_progress', 'waiting_for_retry')))
                || array(select msg_id from moved where state in ('error', 'cancelled')),
               array(select s.msg_id from tasker.steps s
                     where s.step_uuid = any (v_steps) and s.msg_id = any (v_messages)
                       and s.state in ('enqueued', 'in_progress', 'waiting_for_retry')
                       and not exists (select from moved where moved.step_uuid = s.step_uuid))
        into steps, v_fresh, v_told, v_limited, v_poison, v_tasks, v_gone, v_turns, v_alien,
             v_alien_rank, v_alien_lane, v_stray, v_busy;
        left_work := v_alien is not null;
        -- Messages of paused tasks keep the time they were just given: until they are resumed, that is for ever.
        perform tasker.queue_apply(p_namespace, null, m.messages, m.forever, null, null, null, p_now, null, null, null, null, null, null)
        from (select array_agg(s.msg_id) as messages, array_agg('infinity'::timestamptz) as forever
              from tasker.steps s join tasker.tasks t on t.task_uuid = s.task_uuid
              where s.step_uuid = any (v_steps) and s.state = 'enqueued' and t.state = 'paused' and s.msg_id = any (v_messages)) m
        where m.messages is not null;
    end if;

    -- Messages without a step to run (its task was cancelled, or somebody else sent them) leave the queue; those whose
    -- task was locked come due again a moment later; those that only others may take are ready for them.
    if v_stray <> '{}' or v_busy <> '{}' or v_alien is not null then
        perform tasker.queue_apply(
            p_namespace, nullif(v_stray, '{}'), nullif(v_busy, '{}'),
            (select array_agg(p_now + interval '5 milliseconds') from unnest(v_busy)),
            v_alien, v_alien_rank, v_alien_lane, p_now, null, null, null, null, null, null);
    end if;
    v_limited := v_limited or v_fixed;
    if (v_gone is not null or v_turns is not null) and v_limited then
        v_back := tasker.limits_release(coalesce(v_gone, '{}'), p_now, v_turns);
        left_work := left_work or v_back <> '{}';
    end if;
    if v_poison is not null then
        perform tasker.events_owe(v_poison, p_now);
        perform tasker.batches_stop(v_poison, p_now);
        perform tasker.steps_make(s.task_uuid, s.step_uuid, d.forgiven)
        from tasker.steps s join tasker.tasks t on t.task_uuid = s.task_uuid
        join tasker.template_rules d on d.template_id = t.template_id and d.name = s.template_step
        where s.step_uuid = any (v_poison) and s.state = 'error' and s.if_failed = 'forgive' and d.forgiven is not null;
        select s.work_for <> '{}' or left_work, s.ended into left_work, v_done from tasker.tasks_settle(v_tasks, null, p_now) s;
        ended := v_done;
    end if;
    if v_fresh is not null then
        select a.admitted, left_work or a.work_for <> '{}' into v_done, left_work from tasker.steps_admit(v_fresh, v_told, p_now, v_keys) a;
        steps := array(select u.step from unnest(steps) with ordinality as u (step, position)
                       where u.step = any (v_done) or u.step <> all (v_fresh) order by u.position);
    end if;
end
$$;

-- The state of a task, given what it was and its counters. One home for this rule.
create or replace function tasker.task_state(
    p_state text, p_on_failure text, p_total int, p_satisfied int, p_active int, p_retrying int, p_failed int
) returns text language sql immutable parallel safe as $$
    select case
        when p_state in ('paused', 'cancelled', 'error', 'complete', 'resolved_manually') then p_state
        when p_satisfied = p_total then 'complete'
        when p_active > 0 then 'steps_in_process'
        when p_retrying > 0 then 'waiting_for_retry'
        when p_failed > 0 then case p_on_failure when 'fail' then 'error' else 'blocked_by_failures' end
        else 'waiting_for_dependencies'
    end
$$;

-- Takes up to p_want steps of these namespaces and says when the next message comes due.
-- p_tags are those of the worker: it takes steps that ask for a subset of them; null: it takes everything.
-- summary: {"next_due": …, "ended": [task uuids], "left": [namespaces with work left for others]}
create or replace function tasker.steps_claim(
    p_worker text, p_namespaces text[], p_want int, p_lease interval, p_tags text[]
) returns setof tasker.claimed
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
    v_left text[] := '{}';
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
            p_worker, v_namespace, v_now, v_now + p_lease, p_want - cardinality(v_steps), p_tags);
        v_steps := v_steps || coalesce(v_got.steps, '{}');
        v_ended := v_ended || coalesce(v_got.ended, '{}');
        if v_got.left_work then
            v_left := v_left || v_namespace;
        end if;
    end loop;
    foreach v_namespace in array p_namespaces loop
        v_next := least(v_next, (select q.next_due from tasker.queue_next(v_namespace) q));
    end loop;
    if v_steps <> '{}' then
        return query select * from tasker.claimed_rows(v_steps);
    end if;
    return next row(null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
                    json_build_object(
        'next_due', extract(epoch from nullif(v_next, 'infinity') - v_now), 'ended', v_ended, 'left', v_left))::tasker.claimed;
end
$$;
