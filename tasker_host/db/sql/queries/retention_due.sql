-- How many finished tasks of the namespaces $1 ended longer than $2 ago, or are more than the $3 that ended last.
select t.namespace, count(*) as tasks
from (
    select namespace, state_since, row_number() over (partition by namespace order by state_since desc, task_uuid desc) as n
    from tasker.tasks
    where namespace = any ($1::text[]) and state in ('complete', 'error', 'cancelled', 'resolved_manually')
) t
join unnest($1::text[], $2::interval[], $3::bigint[]) as p (namespace, max_age, keep) on p.namespace = t.namespace
where t.state_since < tasker.now() - p.max_age or t.n > p.keep
group by t.namespace order by t.namespace
