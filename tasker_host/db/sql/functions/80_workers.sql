-- A worker says that it lives and how it is; workers that have said nothing for ten of their beats are forgotten.
create or replace function tasker.worker_beat(
    p_worker text, p_name text, p_host text, p_pid int, p_since timestamptz, p_every interval, p_version text, p_state text,
    p_slots int, p_running int, p_abandoned int, p_tags text[], p_namespaces text[], p_unserved json
) returns void
language sql as $$
    with gone as (
        delete from tasker.workers w using (
            select worker from tasker.workers where seen_at < tasker.now() - 10 * beats_every for update skip locked) g
        where w.worker = g.worker and w.worker <> p_worker)
    insert into tasker.workers (
        worker, name, host, pid, since, seen_at, beats_every, version, state, slots, running, abandoned_threads, tags,
        namespaces, unserved)
    values (p_worker, p_name, p_host, p_pid, p_since, tasker.now(), p_every, p_version, p_state, p_slots, p_running,
            p_abandoned, p_tags, p_namespaces, p_unserved)
    on conflict (worker) do update
    set seen_at = excluded.seen_at, state = excluded.state, slots = excluded.slots, running = excluded.running,
        abandoned_threads = excluded.abandoned_threads, unserved = excluded.unserved
$$;
