select tasker.events_send($1, $2::jsonb)
