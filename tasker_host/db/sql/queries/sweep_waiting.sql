-- The waiting steps of watched tasks in which nothing but waiting steps is left, each with those of its parents that wait
-- too. Of $1 tasks, whose time to be looked at has come and that no investigation is about.
select t.task_uuid, t.state_since, s.name,
       array(select p.name from tasker.steps p where p.step_uuid = any (s.parents) and p.state = 'pending' order by p.position)
           as parents
from (
    select w.task_uuid, t.state_since
    from tasker.watches w join tasker.tasks t on t.task_uuid = w.task_uuid and t.state = 'waiting_for_dependencies'
    where w.look_at <= tasker.now()
      and not exists (select from tasker.dead_letters d where d.task_uuid = w.task_uuid and d.resolution_status = 'pending')
    order by w.look_at, w.task_uuid limit $1
) t
join tasker.steps s on s.task_uuid = t.task_uuid and s.state = 'pending'
order by t.task_uuid, s.position
