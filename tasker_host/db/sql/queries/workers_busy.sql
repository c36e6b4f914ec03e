-- How busy the workers of these processes ($2) of one machine are; of those only that say that they live.
select w.running, w.slots from tasker.workers w
where w.host = $1 and w.pid = any ($2::int[]) and w.seen_at > tasker.now() - 3 * w.beats_every
