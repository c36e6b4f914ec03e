-- Of the events $2, those that the consumer $1 has done.
select event_id from tasker.consumed_events where consumer = $1 and event_id = any ($2)
