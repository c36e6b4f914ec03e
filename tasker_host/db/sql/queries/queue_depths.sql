-- Per namespace: messages ready to be taken and messages that are leased or wait for a time.
select n.name as namespace, d.ready, d.waiting
from tasker.namespaces n cross join lateral tasker.queue_depth(n.name) d
order by n.name
