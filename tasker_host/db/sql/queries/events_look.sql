select msg_id, message from tasker.events_look($1, $2, $3, $4, $5, $6)
