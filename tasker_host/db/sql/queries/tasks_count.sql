-- How many tasks the filters of tasks_list match.
select count(*)
from tasker.tasks t
join tasker.templates m on m.template_id = t.template_id
where ($1::text is null or t.namespace = $1)
  and ($2::text is null or m.name = $2)
  and ($3::text is null or m.version = $3)
  and ($4::text[] is null or t.state = any ($4))
  and ($5::text is null or t.initiator = $5)
  and ($6::text is null or t.source_system = $6)
