-- The fleet: those who have said nothing for three of their beats are lost.
select w.worker, w.name, w.host, w.pid, w.since, w.seen_at, w.version,
       case when w.seen_at < tasker.now() - 3 * w.beats_every then 'lost' else w.state end as state,
       w.slots, w.running, w.abandoned_threads, w.tags, w.namespaces,
       coalesce((select json_agg(json_build_object('template', t.namespace || '/' || t.name || ' ' || t.version, 'step', u ->> 'step'))
                 from json_array_elements(w.unserved) u
                 join tasker.templates t on t.template_id = (u ->> 'template_id')::int), '[]') as unserved
from tasker.workers w order by w.host, w.pid, w.since
