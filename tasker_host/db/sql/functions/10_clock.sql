-- The clock of the kernel: the time the calling statement arrived, unless the session sets `tasker.now` (tests do).

create or replace function tasker.now() returns timestamptz
language sql stable parallel safe as $$
    select coalesce(nullif(current_setting('tasker.now', true), '')::timestamptz, statement_timestamp())
$$;

-- uuid7 for keys made on the server: native from PostgreSQL 18, else milliseconds, sub-millisecond fraction, random bits.
do $$
begin
    if current_setting('server_version_num')::int >= 180000 then
        execute 'create or replace function tasker.uuid7() returns uuid language sql volatile parallel safe
                 as ''select uuidv7()''';
    else
        execute $f$
            create or replace function tasker.uuid7() returns uuid language sql volatile parallel safe as $body$
                select (
                    lpad(to_hex(t.us / 1000), 12, '0')
                    || '7' || lpad(to_hex((t.us % 1000) * 4096 / 1000), 3, '0')
                    || substr(r.hex, 17)
                )::uuid
                from (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as us) t,
                     (select replace(gen_random_uuid()::text, '-', '') as hex) r
            $body$
        $f$;
    end if;
end
$$;
