-- What hosts tell those who write to the database themselves (45_requests.sql): one row, written when a host starts.

-- The limits of a host that starts; those of the host that started last count.
create or replace function tasker.host_settings_tell(p_context_max_bytes int, p_context_max_depth int, p_aging_interval interval)
returns void language sql as $$
    update tasker.host_settings
    set context_max_bytes = p_context_max_bytes, context_max_depth = p_context_max_depth, aging_interval = p_aging_interval
    where (context_max_bytes, context_max_depth, aging_interval)
          is distinct from (p_context_max_bytes, p_context_max_depth, p_aging_interval)
$$;

-- A host that does not poll lives, and says so again within p_valid_for.
create or replace function tasker.event_driven_host_lives(p_valid_for interval) returns void language sql as $$
    update tasker.host_settings set event_driven_until = tasker.now() + p_valid_for
    where event_driven_until is null or event_driven_until < tasker.now() + p_valid_for
$$;

-- Tells hosts, when the transaction commits, of a task that somebody else wrote in it, where there are hosts that do not
-- poll. Elsewhere nothing is told: a notification within a transaction holds up every other commit of the server until
-- its own is on disk. So ring after the commit, or leave it to the poll.
create or replace function tasker.ring_event_driven(p_channel text) returns void language sql as $$
    select pg_notify(p_channel, '')
    where exists (select from tasker.host_settings where event_driven_until > tasker.now())
$$;
