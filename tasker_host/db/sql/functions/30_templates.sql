-- Registers the content of a template and its steps; returns its id. Steps that are not `initial` have no edges here: a
-- task gets them while it runs. The same content is the same row: registering again only makes it the current one of its
-- (namespace, name, version).

create or replace function tasker.template_register(
    p_namespace text, p_name text, p_version text, p_sha256 text, p_content json, p_steps json
) returns int
language plpgsql as $$
declare
    v_id int;
begin
    perform tasker.namespace_create(p_namespace);
    insert into tasker.templates (namespace, name, version, sha256, content, steps, roots, on_failure, registered_at)
    select p_namespace, p_name, p_version, p_sha256, p_content,
           count(*) filter (where s.initial is not false), count(*) filter (where s.initial is not false and s.parents = '{}'),
           coalesce(p_content ->> 'on_failure', 'block'), clock_timestamp()
    from json_to_recordset(p_steps) as s (parents int[], initial boolean)
    on conflict (sha256) do nothing
    returning template_id into v_id;
    if v_id is null then
        update tasker.templates t set registered_at = clock_timestamp()
        where t.sha256 = p_sha256
        returning template_id into v_id;
        return v_id;
    end if;
    insert into tasker.template_steps (
        template_id, position, name, parents, children, reads, max_attempts, initial, handler, if_failed, priority, tags,
        concurrency_limit, parallelism)
    select v_id, s.position, s.name, s.parents, s.children, s.reads, s.max_attempts, coalesce(s.initial, true),
           coalesce(s.handler, ''), s.if_failed, s.priority, s.tags, s.concurrency_limit, s.parallelism
    from json_to_recordset(p_steps)
        as s (position int, name text, parents int[], children int[], reads int[], max_attempts int, initial boolean,
              handler text, if_failed text, priority smallint, tags text[], concurrency_limit int, parallelism int);
    return v_id;
end
$$;
