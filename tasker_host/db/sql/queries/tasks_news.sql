-- What is told of tasks that came to rest, in the order asked.
select t.task_uuid, t.namespace, m.name, m.version, t.state, t.steps_total, t.steps_done, t.steps_failed, t.correlation_id
from unnest($1::uuid[]) with ordinality as n (task_uuid, position)
join tasker.tasks t on t.task_uuid = n.task_uuid
join tasker.templates m on m.template_id = t.template_id
order by n.position
