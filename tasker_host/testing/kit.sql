-- What the testing kit adds to its throw-away databases: a clock that can be moved, and a way back.

create schema tasker_kit;

-- The clock: how far it is ahead of the real one. All sessions read it, so all of them see it move.
create table tasker_kit.clock (ahead interval not null);
insert into tasker_kit.clock values (interval '0');

create or replace function tasker.now() returns timestamptz
language sql stable as $$
    select coalesce(nullif(current_setting('tasker.now', true), '')::timestamptz,
                    statement_timestamp() + (select ahead from tasker_kit.clock))
$$;

create function tasker_kit.advance(p_by interval) returns void
language sql as $$
    update tasker_kit.clock set ahead = ahead + greatest(p_by, interval '0')
$$;

-- How long until something happens by itself: a start, a retry, the end of a lease, a deadline; null:
-- nothing ever will.
create function tasker_kit.next_due() returns interval
language sql as $$
    select min(due) - tasker.now() from (
        select q.next_due as due from tasker.namespaces n cross join lateral tasker.queue_next(n.name) q
        union all
        select d.at from tasker.deadlines d join tasker.tasks t on t.task_uuid = d.task_uuid and t.deadline_at = d.at
        where t.state not in ('complete', 'error', 'cancelled', 'resolved_manually')
    ) d
    where due < 'infinity'
$$;

-- Tables and sequences that are not ours.
create function tasker_kit.relations() returns table (relation regclass, kind text)
language sql stable as $$
    select c.oid::regclass, c.relkind::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'S') and c.relpersistence <> 't'
      and n.nspname not in ('pg_catalog', 'information_schema', 'tasker_kit') and n.nspname not like 'pg\_%'
$$;

-- Durable events, those that were consumed into the archive too.
create function tasker_kit.events() returns setof jsonb
language plpgsql stable as $$
declare
    v_queue text;
begin
    for v_queue in select name || '_domain_events' from tasker.namespaces order by name loop
        if to_regclass(format('pgmq.%I', 'q_' || v_queue)) is not null then
            return query execute format(
                'select message from (select msg_id, message from pgmq.%I union all select msg_id, message from pgmq.%I) m
                 order by msg_id', 'q_' || v_queue, 'a_' || v_queue);
        end if;
    end loop;
end
$$;

-- What a run left behind, for comparison: tables that are not ours, without the columns that count by themselves.
create function tasker_kit.user_tables() returns table (name text, columns text)
language sql stable as $$
    select r.relation::text,
           (select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
            from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
            where a.attrelid = r.relation and a.attnum > 0 and not a.attisdropped and a.attidentity = ''
              and coalesce(pg_get_expr(d.adbin, d.adrelid), '') not like 'nextval(%')
    from tasker_kit.relations() r join pg_class c on c.oid = r.relation join pg_namespace n on n.oid = c.relnamespace
    where r.kind = 'r' and n.nspname not in ('tasker', 'pgmq') order by 1
$$;
