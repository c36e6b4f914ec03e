-- Registers the content of a template and its steps; returns its id. Steps that are not `initial` a task gets while it
-- runs: only their rules are kept. The same content is the same row: registering again only makes it the current one of its
-- (namespace, name, version).

create or replace function tasker.template_register(
    p_namespace text, p_name text, p_version text, p_sha256 text, p_content json, p_steps json
) returns int
language plpgsql as $$
declare
    v_id int;
begin
    perform tasker.namespace_create(p_namespace);
    insert into tasker.templates (namespace, name, version, sha256, content, steps, roots, on_failure, is_special, registered_at)
    select p_namespace, p_name, p_version, p_sha256, p_content,
           count(*) filter (where s.initial is not false), count(*) filter (where s.initial is not false and s.parents = '{}'),
           coalesce(p_content ->> 'on_failure', 'block'), coalesce(bool_or(s.tags is not null or s.priority is not null), false),
           clock_timestamp()
    from json_to_recordset(p_steps) as s (parents int[], initial boolean, tags text[], priority smallint)
    on conflict (sha256) do nothing
    returning template_id into v_id;
    if v_id is null then
        update tasker.templates t set registered_at = clock_timestamp()
        where t.sha256 = p_sha256
        returning template_id into v_id;
        return v_id;
    end if;
    insert into tasker.template_steps (
        template_id, position, name, parents, children, reads, max_attempts, if_failed, priority, tags)
    select v_id, s.position, s.name, s.parents, s.children, s.reads, s.max_attempts, s.if_failed, s.priority, s.tags
    from json_to_recordset(p_steps)
        as s (position int, name text, parents int[], children int[], reads int[], max_attempts int, initial boolean,
              if_failed text, priority smallint, tags text[])
    where s.initial is not false;
    insert into tasker.template_rules (
        template_id, name, handler, max_attempts, if_failed, priority, tags, concurrency_limit, parallelism, forgiven)
    select v_id, s.name, coalesce(s.handler, ''), s.max_attempts, s.if_failed, s.priority, s.tags, s.concurrency_limit,
           s.parallelism, s.forgiven
    from json_to_recordset(p_steps)
        as s (name text, handler text, max_attempts int, if_failed text, priority smallint, tags text[],
              concurrency_limit int, parallelism int, forgiven json);
    return v_id;
end
$$;
