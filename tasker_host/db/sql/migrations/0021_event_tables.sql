-- Tables of events that were there before: not gone through for rows that were only added, and without statistics of their
-- messages (`tasker.events_table_tune` does so for new ones).
do $$
declare
    v_table regclass;
begin
    for v_table in
        select t.name from (
            select to_regclass(format('pgmq.%I', 'q_' || n.name || '_domain_events')) as name from tasker.namespaces n
            union select to_regclass(format('pgmq.%I', 'q_' || b.queue)) from tasker.event_bindings b
        ) t where t.name is not null
    loop
        execute format('alter table %s set (autovacuum_vacuum_insert_threshold = -1), alter column message set statistics 0', v_table);
    end loop;
end
$$;
