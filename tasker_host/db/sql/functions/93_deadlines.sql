-- Deadlines: a template's longest duration. Rows of `deadlines` are written by the submission.

-- Ends what is past its deadline. `ended` are the tasks that did, `next_at` is when to look again: at the next deadline,
-- or before one can come that is not written yet; null: no template has any.
create or replace function tasker.deadlines_enforce(p_limit int, out ended uuid[], out next_at timestamptz)
language plpgsql
set plan_cache_mode = force_generic_plan
as $$
declare
    v_now timestamptz := tasker.now();
    v_due uuid[];
begin
    ended := '{}';
    if not pg_try_advisory_xact_lock(hashtextextended('tasker.deadlines', 0)) then
        next_at := v_now + interval '200 milliseconds';
        return;
    end if;
    with due as (
        select d.at, d.task_uuid from tasker.deadlines d where d.at <= v_now order by d.at limit p_limit
    ), gone as (
        delete from tasker.deadlines d using due where d.at = due.at and d.task_uuid = due.task_uuid returning d.task_uuid, d.at
    )
    select array_agg(t.task_uuid) into v_due
    from gone g join tasker.tasks t on t.task_uuid = g.task_uuid and t.deadline_at = g.at
    where t.state not in ('complete', 'error', 'cancelled', 'resolved_manually');
    if v_due is not null then
        perform tasker.dead_letters_file(l.tasks, l.reasons, '{"cause": "max_duration"}')
        from (select array_agg(t.task_uuid) as tasks, array_agg('staleness_timeout'::text) as reasons
              from tasker.tasks t join tasker.templates m on m.template_id = t.template_id
              where t.task_uuid = any (v_due) and (m.lifecycle ->> 'auto_dlq_on_timeout')::boolean) l
        where l.tasks is not null;
        ended := tasker.tasks_stop(
            array(select t.task_uuid from tasker.tasks t join tasker.templates m on m.template_id = t.template_id
                  where t.task_uuid = any (v_due) and (m.lifecycle ->> 'auto_fail_on_timeout')::boolean is not false),
            'error', 'sweep', 'max_duration', true);
    end if;
    next_at := least((select d.at from tasker.deadlines d order by d.at limit 1),
                     v_now + (select m.max_duration from tasker.templates m where m.max_duration is not null
                              order by m.max_duration limit 1));
end
$$;
