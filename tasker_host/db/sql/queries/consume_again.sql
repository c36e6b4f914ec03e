-- Messages $1 of a queue, of the reads $2, are visible after $3 seconds; those that are not ours any more stay as they are.
update pgmq."q_{queue}" m set vt = clock_timestamp() + make_interval(secs => $3)
from unnest($1::bigint[], $2::int[]) as h (msg_id, read_ct)
where m.msg_id = h.msg_id and m.read_ct = h.read_ct
returning m.msg_id
