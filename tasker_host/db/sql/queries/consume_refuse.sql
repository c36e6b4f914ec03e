-- Messages $2 of the queue $1 go to its archive.
select pgmq.archive($1, $2::bigint[])
