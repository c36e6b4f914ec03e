delete from tasker.events_owed o using unnest($1::uuid[], $2::int[]) as p (step_uuid, attempt)
where o.step_uuid = p.step_uuid and o.attempt = p.attempt
