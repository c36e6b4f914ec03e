-- Up to $3 messages of the queue $1, this consumer's for $2 seconds.
select msg_id, read_ct, message::text as message from pgmq.read($1, $2::integer, $3::integer)
