-- What became of the tasks $1: how long each took, and the first of its steps that is in error.
select t.task_uuid, t.namespace, m.name, t.state, t.steps_done, t.context,
       extract(epoch from coalesce(t.completed_at, t.state_since) - t.created_at)::float8 * 1000 as took_ms,
       (select sum(s.attempts) from tasker.steps s where s.task_uuid = t.task_uuid) as attempts,
       f.name as failed_step, f.error
from tasker.tasks t
join tasker.templates m on m.template_id = t.template_id
left join lateral (
    select s.name, s.error from tasker.steps s
    where s.task_uuid = t.task_uuid and s.state = 'error' order by s.position limit 1
) f on true
where t.task_uuid = any ($1::uuid[])
