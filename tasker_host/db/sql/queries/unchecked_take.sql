-- Up to $1 tasks whose contexts no host has checked, locked until one has.
select u.task_uuid, t.namespace, t.template_id, t.context::text as context
from tasker.unchecked u left join tasker.tasks t on t.task_uuid = u.task_uuid
order by u.task_uuid limit $1 for update of u skip locked
