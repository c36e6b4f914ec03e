-- The steps of tasks ($1), in the order they were created, with the names of their parents.
select s.task_uuid, s.step_uuid, s.name, s.state as current_state, s.state_since, s.attempts, s.max_attempts,
       s.waits_on, cardinality(s.parents) as total_parents,
       array(select p.name from tasker.steps p where p.step_uuid = any (s.parents) order by p.position) as dependencies,
       (select count(*) from tasker.steps p
        where p.step_uuid = any (s.parents) and tasker.is_satisfied(p.state, p.if_failed)) as completed_parents,
       coalesce(s.if_failed = 'forgive', false) as optional, s.priority, s.lane as tags,
       (select k.key from tasker.parked k where k.step_uuid = s.step_uuid) as waits_for_limit,
       case when s.state = 'in_progress' then s.worker end as worker, s.retry_at as next_retry_at, s.took_ms, s.checkpoint, s.result, s.error
from tasker.steps s
where s.task_uuid = any ($1::uuid[])
order by s.task_uuid, s.position
