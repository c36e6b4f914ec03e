-- The message $2 of the queue $1 is done if it is still that of read $3: it is deleted, or with $4 archived.
select case when m.read_ct <> $3 then false
            when $4 then pgmq.archive($1, $2::bigint) else pgmq.delete($1, $2::bigint) end
from pgmq.set_vt($1, $2::bigint, 30) m
