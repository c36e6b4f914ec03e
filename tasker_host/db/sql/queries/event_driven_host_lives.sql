-- This host must be rung: tasks that are made in SQL do so for the next $1.
select tasker.event_driven_host_lives($1::interval)
