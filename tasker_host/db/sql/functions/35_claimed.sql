-- What a worker is given when it takes steps: by a submission, a claim or a finish.

-- What a handler needs, one row per claimed step; the last row has no step and carries `summary`.
do $$
begin
    if not exists (select from pg_attribute where attrelid = to_regclass('tasker.claimed')
                   and attname = 'parent_correlation_id' and not attisdropped) then
        drop type if exists tasker.claimed cascade;    -- with the functions that return it, which are made anew below
        create type tasker.claimed as (
            step_uuid uuid, task_uuid uuid, namespace text, template_id int, name text, template_step text,
            attempt int, max_attempts int, msg_id bigint, correlation_id uuid, parent_correlation_id uuid,
            context json, "values" json, inputs json, checkpoint json, summary json);
    end if;
end
$$;

-- Whether a step in this state no longer holds its children back. One home for this rule.
create or replace function tasker.is_satisfied(p_state text, p_if_failed text) returns boolean
language sql immutable parallel safe as $$
    select p_state in ('complete', 'resolved_manually') or (p_state = 'error' and coalesce(p_if_failed, '') = 'forgive')
$$;

create or replace function tasker.claimed_rows(p_steps uuid[]) returns setof tasker.claimed
language sql stable rows 100
as $$
    select s.step_uuid, s.task_uuid, t.namespace, t.template_id, s.name, s.template_step,
           s.attempts, s.max_attempts, s.msg_id, t.correlation_id, t.parent_correlation_id, t.context,
           case when s.reads <> '{}' then (
               select json_object_agg(p.name, case when p.state <> 'error' then p.result end) from tasker.steps p
               where p.step_uuid = any (s.reads) and tasker.is_satisfied(p.state, p.if_failed))
           end,
           s.inputs, s.checkpoint, null::json
    from unnest(p_steps) with ordinality as c (step_uuid, position)
    join tasker.steps s on s.step_uuid = c.step_uuid
    join tasker.tasks t on t.task_uuid = s.task_uuid
    order by c.position
$$;
