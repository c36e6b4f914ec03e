-- The smallest durable DAG runner: each job knows how many parents it waits for and who waits for it. `ready` holds
-- what can be taken. No history, no leases, no events; nothing of the parents is handed to the children.

create table jobs (
    id bigint primary key,               -- task * steps per task + position
    waits_on int not null,
    children bigint[] not null,
    done boolean not null default false,
    result json
) with (fillfactor = 50);                -- nothing that changes is indexed: updates stay heap-only

create table ready (id bigint primary key);

-- p_waits: parents of each position; p_children: for each position the positions that wait for it, from 0.
create function jobs_submit(p_first_task bigint, p_tasks int, p_waits int[], p_children json) returns void
language sql as $$
    insert into ready
    select t * cardinality(p_waits) + p - 1
    from generate_series(p_first_task, p_first_task + p_tasks - 1) t, unnest(p_waits) with ordinality as w (waits, p)
    where waits = 0;

    insert into jobs (id, waits_on, children)
    select t * cardinality(p_waits) + p - 1, waits,
           array(select t * cardinality(p_waits) + c::text::bigint from json_array_elements(p_children -> (p - 1)::int) c)
    from generate_series(p_first_task, p_first_task + p_tasks - 1) t, unnest(p_waits) with ordinality as w (waits, p);
$$;
