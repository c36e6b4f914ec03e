-- Tasks that are watched and wait or work, the nearest to being stale first; $1 thresholds, $2 how many.
select j.*, case when share >= 1 then 'stale' when share >= 0.8 then 'warning' else 'healthy' end as health_status
from (
    select s.task_uuid, s.namespace, s.task_name, s.version, s.current_state,
           (extract(epoch from tasker.now() - s.since) / 60)::float8 as time_in_state_minutes,
           s.threshold_minutes as staleness_threshold_minutes, s.stale_at,
           -- What waits for a known time is as near to being stale as the rest of the way to it says.
           1 - extract(epoch from s.stale_at - tasker.now()) / 60 / s.threshold_minutes as share
    from tasker.tasks_staleness(array(select task_uuid from tasker.watches), $1, null) s
    where s.current_state in ('waiting_for_dependencies', 'waiting_for_retry', 'steps_in_process') and s.stale_at < 'infinity'
) j
order by share desc, task_uuid limit $2
