-- Ends up to $1 tasks that are past their deadline; when to look again, in seconds.
select d.ended, extract(epoch from d.next_at - tasker.now())::float8 as next_seconds from tasker.deadlines_enforce($1) d
