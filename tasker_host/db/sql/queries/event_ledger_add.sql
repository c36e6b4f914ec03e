-- Adds to the counts of all hosts; in the order of the keys, so that two hosts that do so cannot deadlock.
insert into tasker.event_ledger as l (
    namespace, event_name, publisher, published, declined, failed, last_error, last_error_at, last_at)
select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[],
                     $8::timestamptz[], $9::timestamptz[])
order by 1, 2, 3
on conflict (namespace, event_name, publisher) do update
set published = l.published + excluded.published, declined = l.declined + excluded.declined,
    failed = l.failed + excluded.failed,
    last_error = case when excluded.last_error_at >= coalesce(l.last_error_at, excluded.last_error_at)
                      then excluded.last_error else l.last_error end,
    last_error_at = greatest(l.last_error_at, excluded.last_error_at),
    last_at = greatest(l.last_at, excluded.last_at)
