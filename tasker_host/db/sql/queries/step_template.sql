select s.template_step, m.content
from tasker.steps s
join tasker.tasks t on t.task_uuid = s.task_uuid
join tasker.templates m on m.template_id = t.template_id
where s.step_uuid = $1
