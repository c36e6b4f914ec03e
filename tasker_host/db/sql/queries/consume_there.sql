-- Whether there is a queue $1.
select exists (select from pgmq.meta where queue_name = $1)
