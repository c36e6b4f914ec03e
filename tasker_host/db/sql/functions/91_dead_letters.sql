-- Dead letters: filing them, and what people see of them.

-- A task as an investigation needs it: what it is, the steps in error and some of the others, the last of its history.
create or replace function tasker.task_snapshot(p_task uuid, p_threshold_minutes int, p_now timestamptz) returns json
language sql stable as $$
    select json_build_object(
        'task_uuid', t.task_uuid, 'namespace', t.namespace, 'task_name', m.name, 'version', m.version,
        'current_state', t.state, 'state_since', t.state_since,
        'time_in_state_minutes', floor(extract(epoch from p_now - t.state_since) / 60)::int,
        'threshold_minutes', p_threshold_minutes,
        'task_age_minutes', floor(extract(epoch from p_now - t.created_at) / 60)::int,
        'created_at', t.created_at, 'start_at', t.start_at, 'deadline_at', t.deadline_at,
        'priority', t.priority, 'tags', t.tags, 'initiator', t.initiator, 'source_system', t.source_system,
        'submission_reason', t.reason, 'correlation_id', t.correlation_id, 'context', t.context,
        'steps_total', t.steps_total, 'steps_done', t.steps_done, 'steps_failed', t.steps_failed,
        'lifecycle', m.lifecycle, 'detection_time', p_now,
        'steps', coalesce((
            select json_agg(json_build_object(
                       'step_uuid', s.step_uuid, 'name', s.name, 'state', s.state, 'state_since', s.state_since,
                       'attempts', s.attempts, 'max_attempts', s.max_attempts, 'waits_on', s.waits_on,
                       'worker', s.worker, 'retry_at', s.retry_at, 'error', s.error) order by s.position)
            from (select * from tasker.steps where task_uuid = p_task
                  order by state = 'error' desc, state in ('complete', 'resolved_manually'), position limit 200) s), '[]'),
        'history', coalesce((
            select json_agg(h.event order by h.at)
            from (select h.at, h.event from (
                      select at, json_build_object('at', at, 'from', from_state, 'to', to_state, 'actor', actor, 'reason', reason) as event
                      from tasker.task_history where task_uuid = p_task
                      union all
                      select h.at, json_build_object('at', h.at, 'step_uuid', h.step_uuid, 'from', h.from_state, 'to', h.to_state,
                             'attempt', h.attempt, 'worker', h.worker, 'reason', h.reason, 'error', h.error)
                      from tasker.step_history h where h.task_uuid = p_task) h
                  order by h.at desc limit 50) h), '[]'))
    from tasker.tasks t join tasker.templates m on m.template_id = t.template_id where t.task_uuid = p_task
$$;

-- Files an entry for each task that has none pending; returns those made. p_metadata goes with each.
create or replace function tasker.dead_letters_file(p_tasks uuid[], p_reasons text[], p_metadata json)
returns table (task_uuid uuid, dlq_entry_uuid uuid)
language sql as $$
    insert into tasker.dead_letters (
        dlq_entry_uuid, task_uuid, namespace, original_state, dlq_reason, dlq_timestamp, task_snapshot, metadata, updated_at)
    select tasker.uuid7(), t.task_uuid, t.namespace, t.state, n.reason, tasker.now(),
           tasker.task_snapshot(t.task_uuid, tasker.staleness_minutes(t.state, m.lifecycle, null), tasker.now()),
           p_metadata, tasker.now()
    from unnest(p_tasks, p_reasons) as n (task_uuid, reason)
    join tasker.tasks t on t.task_uuid = n.task_uuid
    join tasker.templates m on m.template_id = t.template_id
    where not exists (select from tasker.dead_letters d where d.task_uuid = t.task_uuid and d.resolution_status = 'pending')
    order by t.task_uuid
    for key share of t               -- which retention cannot take away meanwhile, and leave an entry of no task
    on conflict (task_uuid) where resolution_status = 'pending' do nothing
    returning task_uuid, dlq_entry_uuid
$$;

-- Files the tasks that failed since the last look, up to p_limit, where a step used up its attempts or lost its worker for
-- the last time. Returns each task looked at, with its entry if one was made. What failed for good at once needs no investigation to be seen: see the task.
create or replace function tasker.failures_file(p_limit int, p_files boolean)
returns table (task_uuid uuid, dlq_entry_uuid uuid, dlq_reason text)
language plpgsql as $$
#variable_conflict use_column
begin
    if not pg_try_advisory_xact_lock(hashtextextended('tasker.sweep', 0)) then
        return;
    end if;
    return query
        with gone as (
            delete from tasker.failures where ctid in (select ctid from tasker.failures limit p_limit) returning task_uuid
        ), judged as (
            select g.task_uuid, s.reason
            from (select distinct task_uuid from gone) g
            left join tasker.tasks t on t.task_uuid = g.task_uuid and t.state in ('blocked_by_failures', 'error')
            left join lateral (
                select case when bool_or(s.error ->> 'error_type' = 'worker_lost') then 'worker_unavailable'
                            when bool_or(coalesce((s.error ->> 'retryable')::boolean, true)
                                         and (s.attempts >= s.max_attempts or (s.error ->> 'will_retry')::boolean is false))
                            then 'max_retries_exceeded' end as reason
                from tasker.steps s where s.task_uuid = t.task_uuid and s.state = 'error'
                  and s.if_failed is distinct from 'forgive') s on true
        ), filed as (
            select f.* from tasker.dead_letters_file(
                array(select task_uuid from judged where p_files and reason is not null order by task_uuid),
                array(select reason from judged where p_files and reason is not null order by task_uuid), null) f
        )
        select j.task_uuid, f.dlq_entry_uuid, case when f.dlq_entry_uuid is not null then j.reason end
        from judged j left join filed f on f.task_uuid = j.task_uuid;
end
$$;

-- A task whose waiting steps wait for each other: p_since is its state_since when that was seen. Filed and ended like a
-- stale one; returns what was done, null: it has moved since, or is filed already.
create or replace function tasker.cycle_file(p_task uuid, p_since timestamptz, p_metadata json, p_thresholds json)
returns text
language plpgsql as $$
declare
    v_does record;
    v_filed boolean := false;
begin
    perform from tasker.tasks
    where task_uuid = p_task and state = 'waiting_for_dependencies' and state_since = p_since for no key update;
    if not found or exists (select from tasker.dead_letters where task_uuid = p_task and resolution_status = 'pending') then
        return null;
    end if;
    select a.files, a.fails into v_does
    from tasker.tasks t join tasker.templates m on m.template_id = t.template_id
    cross join lateral tasker.staleness_does(m.lifecycle, p_thresholds) a where t.task_uuid = p_task;
    if v_does.files then
        v_filed := exists (select from tasker.dead_letters_file(array[p_task], array['dependency_cycle_detected'], p_metadata));
    end if;
    if v_does.fails then
        perform tasker.tasks_stop(array[p_task], 'error', 'sweep', 'dependency_cycle_detected', true);
        return case when v_filed then 'transitioned_to_dlq_and_error' else 'transitioned_to_error_only' end;
    end if;
    return case when v_filed then 'moved_to_dlq_only' end;
end
$$;

-- Closes or annotates an entry; null leaves a field as it is. An entry is closed once: another status after that is
-- refused (no row). The task of a closed entry is watched again.
create or replace function tasker.dead_letter_update(
    p_entry uuid, p_status text, p_notes text, p_resolved_by text, p_metadata json
) returns setof uuid
language sql as $$
    with closed as (
        update tasker.dead_letters
        set resolution_status = coalesce(p_status, resolution_status),
            resolution_timestamp = case when resolution_status = 'pending' and p_status <> 'pending' then tasker.now()
                                        else resolution_timestamp end,
            resolution_notes = coalesce(p_notes, resolution_notes), resolved_by = coalesce(p_resolved_by, resolved_by),
            metadata = coalesce(p_metadata, metadata), updated_at = tasker.now()
        where dlq_entry_uuid = p_entry
          and (resolution_status = 'pending' or p_status is null or p_status = resolution_status)
        returning dlq_entry_uuid, task_uuid, resolution_status
    ), watched as (
        insert into tasker.watches (task_uuid, look_at)
        select c.task_uuid, tasker.now() from closed c join tasker.tasks t on t.task_uuid = c.task_uuid
        where c.resolution_status <> 'pending'
          and t.state not in ('complete', 'error', 'cancelled', 'resolved_manually')
        on conflict (task_uuid) do update set look_at = excluded.look_at
    )
    select dlq_entry_uuid from closed
$$;

-- How urgent an investigation is: its reason, and a point for each minute that it has waited.
create or replace function tasker.dead_letter_score(p_reason text, p_minutes double precision) returns double precision
language sql immutable parallel safe as $$
    select p_minutes + case p_reason when 'dependency_cycle_detected' then 1000 when 'max_retries_exceeded' then 500
                                     when 'staleness_timeout' then 100 when 'worker_unavailable' then 50 else 10 end
$$;

create or replace view tasker.v_dlq_dashboard as
select dlq_reason, count(*) as total_entries,
       count(*) filter (where resolution_status = 'pending') as pending,
       count(*) filter (where resolution_status = 'manually_resolved') as manually_resolved,
       count(*) filter (where resolution_status = 'permanently_failed') as permanent_failures,
       count(*) filter (where resolution_status = 'cancelled') as cancelled,
       min(dlq_timestamp) as oldest_entry, max(dlq_timestamp) as newest_entry,
       (avg(extract(epoch from resolution_timestamp - dlq_timestamp)) / 60)::float8 as avg_resolution_time_minutes
from tasker.dead_letters group by dlq_reason;

create or replace view tasker.v_dlq_investigation_queue as
select d.dlq_entry_uuid, d.task_uuid, d.namespace, m.name as task_name, d.original_state, t.state as current_state,
       d.dlq_reason, d.dlq_timestamp,
       (extract(epoch from tasker.now() - d.dlq_timestamp) / 60)::float8 as minutes_in_dlq,
       (extract(epoch from tasker.now() - t.state_since) / 60)::float8 as time_in_state_minutes,
       tasker.dead_letter_score(d.dlq_reason, (extract(epoch from tasker.now() - d.dlq_timestamp) / 60)::float8) as priority_score
from tasker.dead_letters d
left join tasker.tasks t on t.task_uuid = d.task_uuid
left join tasker.templates m on m.template_id = t.template_id
where d.resolution_status = 'pending'
order by priority_score desc, d.dlq_timestamp;

-- Files an entry by hand; null when the task has one pending, or does not exist.
create or replace function tasker.dead_letter_manual(p_task uuid, p_notes text, p_metadata json) returns uuid
language plpgsql as $$
declare
    v_entry uuid;
begin
    select f.dlq_entry_uuid into v_entry from tasker.dead_letters_file(array[p_task], array['manual_dlq'], p_metadata) f;
    update tasker.dead_letters set resolution_notes = p_notes where dlq_entry_uuid = v_entry;
    return v_entry;
end
$$;
