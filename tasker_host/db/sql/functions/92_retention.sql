-- Retention: taking finished tasks away, oldest end first, and a task as one document.

create or replace function tasker.task_document(p_task uuid) returns json
language sql stable as $$
    select json_build_object(
        'task', row_to_json(t),
        'steps', coalesce((select json_agg(row_to_json(s) order by s.position)
                           from tasker.steps s where s.task_uuid = p_task), '[]'),
        'task_history', coalesce((select json_agg(row_to_json(h) order by h.at)
                                  from tasker.task_history h where h.task_uuid = p_task), '[]'),
        'step_history', coalesce((select json_agg(row_to_json(h) order by h.at)
                                  from tasker.step_history h where h.task_uuid = p_task), '[]'),
        'dead_letters', coalesce((select json_agg(row_to_json(d) order by d.dlq_timestamp)
                                  from tasker.dead_letters d where d.task_uuid = p_task), '[]'))
    from (select m.name, m.version, m.sha256 as template_sha256, t.* from tasker.tasks t
          join tasker.templates m on m.template_id = t.template_id where t.task_uuid = p_task) t
$$;

-- Takes up to p_limit tasks of a namespace away that ended before p_before, or that are more than the p_keep that ended
-- last; null: no such limit. With p_archive their documents are kept. Returns how many; history, steps and dead letters
-- go along, identities become free. What is at work on somewhere is left for the next time.
create or replace function tasker.tasks_retain(
    p_namespace text, p_before timestamptz, p_keep bigint, p_limit int, p_archive boolean
) returns int
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_surplus bigint;
    v_picked uuid[];
    v_locked uuid[];
    v_tasks uuid[];              -- that go
begin
    -- A sweep that is at it is waited for: its transactions are short, and whoever asks by hand wants the whole done.
    perform pg_advisory_xact_lock(hashtextextended('tasker.sweep', 0));
    select tasks - p_keep into v_surplus from tasker.finished_counts where namespace = p_namespace;
    v_picked := array(
        select p.task_uuid
        from (select f.*, row_number() over (order by ended_at, task_uuid) as n
              from (select * from tasker.finished where namespace = p_namespace
                    order by namespace, ended_at, task_uuid limit p_limit) f) p
        where p.ended_at < p_before or p.n <= v_surplus);
    if v_picked = '{}' then
        return 0;
    end if;
    -- Of a cancelled task steps may still run: they end on their own, and leave their limits then.
    v_locked := array(select t.task_uuid from tasker.tasks t where t.task_uuid = any (v_picked)
                        and not exists (select from tasker.steps s where s.task_uuid = t.task_uuid and s.state = 'in_progress')
                      order by t.task_uuid for update skip locked);
    -- It may have been made to go on, and have ended again since.
    v_tasks := array(select t.task_uuid from tasker.tasks t
                     join tasker.finished f on f.namespace = p_namespace and f.ended_at = t.state_since and f.task_uuid = t.task_uuid
                     where t.task_uuid = any (v_locked) and t.state in ('complete', 'error', 'cancelled', 'resolved_manually'));
    if p_archive then
        insert into tasker.archived_tasks (task_uuid, namespace, ended_at, archived_at, document)
        select t.task_uuid, t.namespace, t.state_since, tasker.now(), tasker.task_document(t.task_uuid)
        from tasker.tasks t where t.task_uuid = any (v_tasks)
        on conflict (task_uuid) do update set ended_at = excluded.ended_at, archived_at = excluded.archived_at,
                                              document = excluded.document;
    end if;
    if exists (select from tasker.events_owed) then
        delete from tasker.events_owed o using tasker.steps s where s.step_uuid = o.step_uuid and s.task_uuid = any (v_tasks);
    end if;
    delete from tasker.steps where task_uuid = any (v_tasks);
    delete from tasker.step_history where task_uuid = any (v_tasks);
    delete from tasker.task_history where task_uuid = any (v_tasks);
    delete from tasker.dead_letters where task_uuid = any (v_tasks);
    delete from tasker.tasks where task_uuid = any (v_tasks);
    with gone as (
        delete from tasker.finished f
        where f.namespace = p_namespace and (f.ended_at, f.task_uuid) in (
                select g.ended_at, g.task_uuid from (
                    select ended_at, task_uuid from tasker.finished where namespace = p_namespace
                    order by namespace, ended_at, task_uuid limit p_limit) g
                where g.task_uuid = any (v_picked))
          -- All but those that somebody holds at the moment.
          and (f.task_uuid = any (v_locked) or not exists (select from tasker.tasks t where t.task_uuid = f.task_uuid))
        returning f.task_uuid
    ), again as (
        -- A later end of the same task: written down anew.
        insert into tasker.finished (namespace, ended_at, task_uuid)
        select t.namespace, t.state_since, t.task_uuid from tasker.tasks t
        where t.task_uuid = any (v_locked) and t.state in ('complete', 'error', 'cancelled', 'resolved_manually')
        on conflict do nothing
        returning task_uuid
    )
    update tasker.finished_counts
    set tasks = tasks - (select count(*) from gone) + (select count(*) from again) where namespace = p_namespace;
    return cardinality(v_tasks);
end
$$;
