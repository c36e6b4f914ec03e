-- The sweep: tasks that stopped moving or failed for good. Called by every host now and then; one at
-- a time does it (advisory locks), for the others there is nothing to do.
--
-- It finds the tasks that have not ended without an index that every task would have to pay for. A walk reads the tasks
-- in the order of their uuids, each one once, a minute after it was made: most have ended by then. The few others are
-- written into `watches`, with the time at which they can be stale at the earliest; a sweep looks at those whose time has
-- come. A second walk follows a day later, for tasks that were committed long after their uuid was made.


-- Puts tasks where the sweep finds them: those that fail, and those that go on after their end.
create or replace function tasker.task_noticed() returns trigger
language plpgsql as $$
declare
    v_now timestamptz := tasker.now();
begin
    if new.state in ('blocked_by_failures', 'error') and old.state not in ('blocked_by_failures', 'error') then
        insert into tasker.failures (task_uuid) values (new.task_uuid);
    end if;
    if old.state in ('complete', 'error', 'cancelled', 'resolved_manually')
       and new.state not in ('complete', 'error', 'cancelled', 'resolved_manually') then
        insert into tasker.watches (task_uuid, look_at) values (new.task_uuid, v_now)
        on conflict (task_uuid) do update set look_at = excluded.look_at;
        if new.deadline_at is not null then
            with again as (
                update tasker.tasks t set deadline_at = v_now + m.max_duration
                from tasker.templates m where t.task_uuid = new.task_uuid and m.template_id = t.template_id
                returning t.deadline_at, t.task_uuid
            )
            insert into tasker.deadlines (at, task_uuid) select deadline_at, task_uuid from again on conflict do nothing;
        end if;
    end if;
    return null;
end
$$;

-- Of a move that concerns nobody here, only the condition is evaluated. It is read from its text by every statement: the lists are
-- constants.
create or replace trigger task_noticed after update on tasker.tasks for each row
when (new.state <> old.state and (new.state = any ('{blocked_by_failures,error}')
                                  or old.state = any ('{complete,error,cancelled,resolved_manually}')))
execute function tasker.task_noticed();

-- Whether it is the caller's turn: the last one, whoever had it, began at least p_every ago.
create or replace function tasker.turn_take(p_name text, p_every interval) returns boolean
language sql as $$
    with taken as (
        insert into tasker.turns as t (name, at) values (p_name, tasker.now())
        on conflict (name) do update set at = excluded.at where t.at <= excluded.at - p_every
        returning true
    )
    select exists (select from taken)
$$;

-- One step of a walk: reads up to p_limit tasks that were made at least p_lag ago. Open ones are to be watched. Ended ones
-- are written down where the walk `finished` has been, or is (which waits for another sweep). Returns whether there may be more.
create or replace function tasker.tasks_walk(p_name text, p_lag interval, p_limit int) returns boolean
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_now timestamptz := tasker.now();
    v_before uuid := (lpad(to_hex((extract(epoch from v_now - p_lag) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
    v_position uuid;
    v_ledger uuid;               -- up to here ended tasks are written down
    v_last uuid;
    v_read int;
begin
    if p_name = 'finished' then
        perform pg_advisory_xact_lock(hashtextextended('tasker.sweep', 0));
    elsif not pg_try_advisory_xact_lock(hashtextextended('tasker.sweep', 0)) then
        return false;
    end if;
    select position into v_position from tasker.walks where name = p_name;
    if v_position is null then
        v_position := '00000000-0000-0000-0000-000000000000';
        insert into tasker.walks (name, position) values (p_name, v_position);
    end if;
    select position into v_ledger from tasker.walks where name = 'finished';
    with met as (
        select task_uuid, namespace, state, state_since, start_at,
               state in ('complete', 'error', 'cancelled', 'resolved_manually') as is_over
        from tasker.tasks where task_uuid > v_position and task_uuid < v_before order by task_uuid limit p_limit
    ), watched as (
        insert into tasker.watches (task_uuid, look_at)
        select task_uuid, greatest(start_at, v_now) from met where not is_over
        on conflict (task_uuid) do nothing
    ), ended as (
        insert into tasker.finished (namespace, ended_at, task_uuid)
        select namespace, state_since, task_uuid from met where is_over and (p_name = 'finished' or task_uuid <= v_ledger)
        on conflict do nothing
        returning namespace
    ), counted as (
        insert into tasker.finished_counts (namespace, tasks) select namespace, count(*) from ended group by namespace
        on conflict (namespace) do update set tasks = finished_counts.tasks + excluded.tasks
    )
    select count(*), (array_agg(task_uuid order by task_uuid desc))[1] into v_read, v_last from met;
    if v_read > 0 then
        update tasker.walks set position = v_last where name = p_name;
    end if;
    return v_read = p_limit;
end
$$;

-- Takes tasks that have ended, or are gone, out of the watched ones; what retention has passed already is written down.
create or replace function tasker.watches_end(p_tasks uuid[]) returns void
language sql as $$
    with gone as (
        delete from tasker.watches where task_uuid = any (p_tasks) returning task_uuid
    ), ended as (
        insert into tasker.finished (namespace, ended_at, task_uuid)
        select t.namespace, t.state_since, t.task_uuid
        from gone g join tasker.tasks t on t.task_uuid = g.task_uuid
        where t.state in ('complete', 'error', 'cancelled', 'resolved_manually')
          and t.task_uuid <= (select position from tasker.walks where name = 'finished')
        on conflict do nothing
        returning namespace
    )
    insert into tasker.finished_counts (namespace, tasks) select namespace, count(*) from ended group by namespace
    on conflict (namespace) do update set tasks = finished_counts.tasks + excluded.tasks
$$;

-- Minutes after which a task is stale in this state: of its template, else as given, else the defaults.
create or replace function tasker.staleness_minutes(p_state text, p_lifecycle json, p_thresholds json) returns int
language sql immutable parallel safe as $$
    select coalesce(
        case when p_state in ('waiting_for_dependencies', 'waiting_for_retry', 'steps_in_process')
             then (p_lifecycle ->> ('max_' || p_state || '_minutes'))::int end,
        (p_thresholds ->> case when p_state in ('waiting_for_dependencies', 'waiting_for_retry', 'steps_in_process')
                               then p_state else 'other' end)::int,
        case p_state when 'waiting_for_dependencies' then 60 when 'waiting_for_retry' then 30
                     when 'steps_in_process' then 30 else 1440 end)
$$;

-- How long tasks have not moved, and when they are stale. `since` is when the task last moved: changed its state, or, while
-- its steps are in process, began or ended one of them. `stale_at` is infinity where that cannot be said: it is paused.
--
--   known time   nothing is stale that waits for a start, a retry or the timeout of a running step in the future, nor
--                before half of the threshold has passed since then
--   held         nor what waits only because a namespace or handler is paused
--   lifetime     counts from the creation or the start, and anew when an operator lets the task go on: it was paused, had
--                failed, or waited for what was paused
--   queued       a task whose steps are only queued has not stopped, others are in front of it: only its lifetime counts.
--                Where no worker is there that would take them, it is stale by its threshold: worker_unavailable
create or replace function tasker.tasks_staleness(p_tasks uuid[], p_thresholds json, p_served boolean)
returns table (
    task_uuid uuid, namespace text, task_name text, version text, current_state text, since timestamptz,
    threshold_minutes int, stale_at timestamptz, reason text, lifecycle json
)
language sql stable
set enable_seqscan = off
as $$
    select j.task_uuid, j.namespace, j.name, j.version, j.state, j.since, j.minutes,
           case when j.state = 'paused' or j.is_held then 'infinity'
                else greatest(
                    least(case when j.is_queued and not j.is_unserved then 'infinity' else j.since + j.threshold end,
                          greatest(j.created_at, j.start_at, j.went_on_at)
                          + make_interval(mins => coalesce((p_thresholds ->> 'lifetime')::int, 1440))),
                    j.due + j.threshold / 2)
           end,
           case when j.is_queued and j.is_unserved then 'worker_unavailable' else 'staleness_timeout' end,
           j.lifecycle
    from (
        select t.task_uuid, t.namespace, m.name, m.version, t.state, t.created_at, t.start_at, m.lifecycle, k.minutes,
               make_interval(mins => k.minutes) as threshold,
               case when t.state = 'steps_in_process' then greatest(t.state_since, s.moved_at) else t.state_since end as since,
               greatest(t.start_at, case when t.state = 'waiting_for_retry' then s.retry_at end,
                        case when t.state = 'steps_in_process' then s.times_out_at end) as due,
               t.state in ('pending', 'steps_in_process') and s.queued > 0 and (s.running = 0 or not w.lives) as is_queued,
               not w.lives or s.refused > 0 and s.refused = s.queued as is_unserved,
               t.state = 'steps_in_process' and s.queued > 0 and s.running = 0 and s.held = s.queued as is_held,
               greatest((select max(h.at) from tasker.task_history h
                         where h.task_uuid = t.task_uuid
                           and h.from_state in ('paused', 'blocked_by_failures', 'complete', 'error', 'cancelled', 'resolved_manually')),
                        (select max(h.at) from tasker.limit_history h
                         where h.key in (select 'handler:' || d.handler from tasker.template_rules d where d.template_id = t.template_id
                                         union all select 'namespace:' || t.namespace)
                           and (h.change ->> 'resumed')::boolean and h.at > t.created_at)) as went_on_at
        from tasker.tasks t
        join tasker.templates m on m.template_id = t.template_id
        cross join lateral (select tasker.staleness_minutes(t.state, m.lifecycle, p_thresholds) as minutes) k
        cross join (select coalesce(p_served, exists (
            select from pg_stat_activity
            where datname = current_database() and application_name like 'tasker worker %')) as lives) w
        cross join lateral (
            select max(s.state_since) filter (where s.state not in ('pending', 'enqueued')) as moved_at,
                   min(s.retry_at) filter (where s.state = 'waiting_for_retry') as retry_at,
                   count(*) filter (where s.state = 'enqueued' or s.state = 'in_progress' and not w.lives) as queued,
                   count(*) filter (where s.state = 'in_progress') as running,
                   -- Workers take what they have no handler for, and give it back: the last that was heard of it.
                   count(*) filter (where s.state = 'enqueued' and heard.reason = 'released') as refused,
                   max(s.state_since + rule.timeout) filter (where s.state = 'in_progress') as times_out_at,
                   count(*) filter (where s.state = 'enqueued' and hold.key is not null) as held
            from tasker.steps s
            left join tasker.parked p on p.step_uuid = s.step_uuid
            left join tasker.limits hold on hold.key = p.key and (hold.paused or hold.max_running = 0)
            -- Each read once for the whole task, however many steps it has.
            left join (
                select distinct on (h.step_uuid) h.step_uuid, h.reason from tasker.step_history h
                where h.task_uuid = t.task_uuid order by h.step_uuid, h.at desc, h.reason = 'released' desc nulls last
            ) heard on heard.step_uuid = s.step_uuid
            left join (
                select distinct on (d ->> 'name') d ->> 'name' as name,
                       make_interval(secs => (d ->> 'timeout_seconds')::float8) as timeout
                from json_array_elements(m.content -> 'steps') d order by d ->> 'name'
            ) rule on rule.name = s.template_step
            where s.task_uuid = t.task_uuid
        ) s
        where t.task_uuid = any (p_tasks) and t.state not in ('complete', 'error', 'cancelled', 'resolved_manually')
    ) j
$$;

-- What is done with a stale task: whether a dead letter is filed, and whether the task ends in error.
create or replace function tasker.staleness_does(p_lifecycle json, p_thresholds json, out files boolean, out fails boolean)
language sql immutable parallel safe as $$
    select coalesce((p_lifecycle ->> 'auto_dlq_on_timeout')::boolean, coalesce(p_lifecycle ->> 'staleness_action', 'dlq') = 'dlq')
               and coalesce((p_thresholds ->> 'dead_letters')::boolean, true),
           coalesce((p_lifecycle ->> 'auto_fail_on_timeout')::boolean, coalesce(p_lifecycle ->> 'staleness_action', 'dlq') <> 'none')
               and coalesce((p_thresholds ->> 'fail')::boolean, true)
$$;

-- Looks at the watched tasks whose time has come, up to p_limit of them, and acts on those that are stale:
--
--   staleness_action  dlq: dead letter and error · error: error only · none: nothing
--   auto_dlq_on_timeout, auto_fail_on_timeout  say for each of the two parts what the action leaves open or says otherwise
--
-- worker_unavailable never ends a task: it goes on when a worker comes. A task whose investigation is pending is left alone.
-- p_thresholds is {state: minutes, "other": …, "lifetime": …, "dead_letters": bool, "fail": bool}; p_served says whether
-- workers live, null: look. A dry run changes nothing that can be seen.
create or replace function tasker.tasks_sweep(p_dry_run boolean, p_limit int, p_thresholds json, p_served boolean default null)
returns table (
    task_uuid uuid, namespace text, task_name text, current_state text, time_in_state_minutes int, threshold_minutes int,
    reason text, action_taken text, moved_to_dlq boolean, transition_success boolean
)
language plpgsql
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_tasks uuid[];
    v_pending uuid[];
    v_stale uuid[];
    v_states text[];
    v_since timestamptz[];
    v_minutes int[];
    v_reasons text[];
    v_files boolean[];
    v_fails boolean[];
    v_filed uuid[] := '{}';
    v_stopped uuid[] := '{}';
begin
    if not pg_try_advisory_xact_lock(hashtextextended('tasker.sweep', 0)) then
        return;
    end if;
    v_tasks := array(select w.task_uuid from tasker.watches w where w.look_at <= v_now
                     order by w.look_at, w.task_uuid limit p_limit);
    if v_tasks = '{}' then
        return;
    end if;
    v_pending := array(select d.task_uuid from tasker.dead_letters d
                       where d.task_uuid = any (v_tasks) and d.resolution_status = 'pending');
    v_stale := array(select j.task_uuid from tasker.tasks_staleness(v_tasks, p_thresholds, p_served) j
                     where j.stale_at <= v_now and j.task_uuid <> all (v_pending));
    -- Judged again under their locks: whoever moves one now waits, whoever holds one is moving it.
    v_stale := array(select t.task_uuid from tasker.tasks t where t.task_uuid = any (v_stale)
                     order by t.task_uuid for no key update skip locked);
    select array_agg(j.task_uuid), array_agg(j.current_state), array_agg(j.since), array_agg(j.threshold_minutes),
           array_agg(j.reason), array_agg(j.files), array_agg(j.fails)
    into v_stale, v_states, v_since, v_minutes, v_reasons, v_files, v_fails
    from (
        select j.*, a.files, a.fails and j.reason <> 'worker_unavailable' as fails
        from tasker.tasks_staleness(v_stale, p_thresholds, p_served) j
        cross join lateral tasker.staleness_does(j.lifecycle, p_thresholds) a
        where j.stale_at <= v_now
    ) j where j.files or j.fails;
    if not p_dry_run then
        v_filed := array(
            select f.task_uuid from tasker.dead_letters_file(
                (select array_agg(s.task) from unnest(v_stale, v_files) as s (task, files) where s.files),
                (select array_agg(s.reason) from unnest(v_reasons, v_files) as s (reason, files) where s.files),
                null) f);
        v_stopped := tasker.tasks_stop(
            array(select s.task from unnest(v_stale, v_fails) as s (task, fails) where s.fails),
            'error', 'sweep', 'staleness_timeout', true);
    end if;

    -- When to look again. A dry run keeps in mind only what is not stale.
    perform tasker.watches_end(array(
        select w.task from unnest(v_tasks) as w (task)
        where not exists (select from tasker.tasks t where t.task_uuid = w.task
                          and t.state not in ('complete', 'error', 'cancelled', 'resolved_manually'))));
    update tasker.watches w
    set look_at = least(
        v_now + interval '1 day',
        case when w.task_uuid <> all (v_pending) and w.task_uuid <> all (v_filed)
             -- A queued task is looked at again when it would be stale without workers.
             then greatest(least(j.stale_at, v_now + make_interval(mins => j.threshold_minutes)),
                           v_now + interval '1 second') end)
    from tasker.tasks_staleness(v_tasks, p_thresholds, p_served) j
    where w.task_uuid = j.task_uuid and not (p_dry_run and j.task_uuid = any (coalesce(v_stale, '{}')));

    return query
        select s.task, j.namespace, m.name, s.state, (extract(epoch from v_now - s.since) / 60)::int, s.minutes, s.reason,
               case when p_dry_run then 'would_transition_to_dlq_and_error'
                    when s.task = any (v_filed) and s.task = any (v_stopped) then 'transitioned_to_dlq_and_error'
                    when s.task = any (v_filed) then 'moved_to_dlq_only'
                    when s.task = any (v_stopped) then 'transitioned_to_error_only'
                    else 'transition_failed' end,
               s.task = any (v_filed), s.task = any (v_stopped)
        from unnest(v_stale, v_states, v_since, v_minutes, v_reasons) as s (task, state, since, minutes, reason)
        join tasker.tasks j on j.task_uuid = s.task join tasker.templates m on m.template_id = j.template_id
        order by s.since;
end
$$;
