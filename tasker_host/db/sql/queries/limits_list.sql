-- Limits that are set, and business keys under which something runs or waits; how many steps wait for room.
select l.key, l.is_fixed, l.max_running, l.per_second, l.burst, l.paused, l.running,
       (select count(*) from tasker.parked p where p.key = l.key) as waiting
from tasker.limits l where $1::text is null or l.key = $1
order by l.key
