-- What the step $1 runs by.
select t.template_id, t.namespace, s.template_step, s.name
from tasker.steps s join tasker.tasks t on t.task_uuid = s.task_uuid where s.step_uuid = $1
