-- Messages $2 of the queue $1, of the reads $3, are visible after $4 seconds; those that are not ours any more stay so.
select h.msg_id
from unnest($2::bigint[], $3::int[]) as h (msg_id, read_ct)
join pgmq.set_vt($1, $2::bigint[], $4::integer) m on m.msg_id = h.msg_id and m.read_ct = h.read_ct
