-- The consumer $1 has done the event $2; nothing when it had done so before. Waits for whoever is just doing it.
insert into tasker.consumed_events (consumer, event_id) values ($1, $2) on conflict do nothing returning true
