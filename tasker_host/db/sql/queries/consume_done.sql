-- The message $2 of the queue $1 is done if it is still that of read $3: it is deleted, or with $4 archived.
select case when $4 then pgmq.archive($1, m.msg_id) else pgmq.delete($1, m.msg_id) end
from (select msg_id from pgmq."q_{queue}" where msg_id = $2 and read_ct = $3 for update) m
