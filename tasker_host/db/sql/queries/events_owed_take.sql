-- Steps of these templates whose events are still to be built, but for some; held until the end of the transaction.
select o.step_uuid, o.attempt, o.error::text as error, t.template_id
from tasker.events_owed o
join tasker.steps s on s.step_uuid = o.step_uuid
join tasker.tasks t on t.task_uuid = s.task_uuid
where t.template_id = any ($1) and o.step_uuid <> all ($2)
order by o.at limit 100 for update of o skip locked
