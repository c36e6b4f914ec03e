-- Needs a superuser: nothing else may put rows back without their triggers and keys.

-- The way back: every table and sequence is remembered as it is, and put back as it was. Ours is not touched, so the
-- clock goes on.
create table tasker_kit.remembered (
    relation regclass primary key,
    kind text not null,
    copy regclass,
    columns text,
    last_value bigint,
    is_called boolean
);

create function tasker_kit.remember() returns void
language plpgsql as $$
declare
    v_one record;
    v_columns text;
    v_copy text;
    v_last bigint;
    v_called boolean;
    v_is_empty boolean;
begin
    for v_one in select copy from tasker_kit.remembered where copy is not null loop
        execute format('drop table %s', v_one.copy);
    end loop;
    delete from tasker_kit.remembered;
    for v_one in select * from tasker_kit.relations() loop
        if v_one.kind = 'S' then
            execute format('select last_value, is_called from %s', v_one.relation) into v_last, v_called;
            insert into tasker_kit.remembered values (v_one.relation, 'S', null, null, v_last, v_called);
            continue;
        end if;
        execute format('select not exists (select from only %s)', v_one.relation) into v_is_empty;
        if v_is_empty then
            insert into tasker_kit.remembered values (v_one.relation, 'r');
            continue;
        end if;
        v_columns := (select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
                      where attrelid = v_one.relation and attnum > 0 and not attisdropped and attgenerated = '');
        v_copy := format('tasker_kit.%I', 'copy_' || v_one.relation::oid);
        execute format('create unlogged table %s as select %s from only %s', v_copy, v_columns, v_one.relation);
        insert into tasker_kit.remembered values (v_one.relation, 'r', v_copy::regclass, v_columns);
    end loop;
end
$$;

create function tasker_kit.restore() returns void
language plpgsql
set session_replication_role = replica      -- no trigger fires and no key is checked: all becomes again what it was
as $$
declare
    v_one record;
begin
    for v_one in select relation from tasker_kit.relations() where relation not in (select relation from tasker_kit.remembered)
                 and kind = 'r' loop
        execute format('drop table if exists %s cascade', v_one.relation);
    end loop;
    for v_one in select r.* from tasker_kit.remembered r join pg_class c on c.oid = r.relation loop
        if v_one.kind = 'S' then
            perform setval(v_one.relation, v_one.last_value, v_one.is_called);
        else
            execute format('delete from only %s', v_one.relation);
            continue when v_one.copy is null;
            execute format('insert into %s (%s) overriding system value select %s from %s',
                           v_one.relation, v_one.columns, v_one.columns, v_one.copy);
        end if;
    end loop;
end
$$;
