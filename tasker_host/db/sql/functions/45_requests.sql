-- Tasks from plain SQL: `select tasker.task_submit('payments', 'charge_order', '{"order_id": 7}')` inside any transaction.
--
-- What is called from outside runs with the rights of the schema's owner, so that a caller needs `usage` on the schema and
-- `execute` on these functions and nothing else; nobody has that by default. A session of another role than the owner cannot
-- set the kernel's clock.

create or replace function tasker.own_clock() returns void
language plpgsql as $$
begin
    if session_user <> current_user and coalesce(current_setting('tasker.now', true), '') <> '' then
        perform set_config('tasker.now', '', true);
    end if;
end
$$;

-- Pairs of letters that two names share, of all they have: 1 for the same name.
create or replace function tasker.likeness(p_one text, p_other text) returns float8
language sql immutable parallel safe as $$
    with pairs as (
        select n.which, substr(n.name, i, 2) as pair
        from (values (1, ' ' || lower(p_one) || ' '), (2, ' ' || lower(p_other) || ' ')) as n (which, name)
        cross join generate_series(1, length(n.name) - 1) i
        group by 1, 2
    )
    select (count(*) - count(distinct pair))::float8 / nullif(count(distinct pair), 0) from pairs
$$;

-- What somebody may have meant who asked for a template that there is not.
create or replace function tasker.template_hint(p_namespace text, p_name text) returns text
language sql stable
security definer set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (select 'there is ' || string_agg(distinct version, ', ') from tasker.templates
         where namespace = p_namespace and name = p_name),
        (select format('did you mean %L/%L?', n.namespace, n.name) from (
             select distinct namespace, name from tasker.templates) n
         cross join lateral (
             select tasker.likeness(n.namespace || '/' || n.name, p_namespace || '/' || p_name) as likeness) l
         where l.likeness > 0.4 order by l.likeness desc, n.namespace, n.name limit 1),
        'start a host whose plugins give it: it registers its templates')
$$;

-- The contents of a template that are current, the highest version first: [{"version", "sha256"}], and one of them as text.
-- Both are text, so that they arrive the same whatever a driver makes of JSON.
create or replace function tasker.template_versions(p_namespace text, p_name text) returns text
language sql stable
security definer set search_path = pg_catalog, pg_temp
as $$
    select coalesce(json_agg(json_build_object('version', t.version, 'sha256', t.sha256) order by t.number desc), '[]')::text
    from (select distinct on (v.number) version, sha256, v.number
          from tasker.templates cross join lateral (select string_to_array(version, '.')::numeric[] as number) v
          where namespace = p_namespace and name = p_name
          order by v.number, registered_at desc) t
$$;

create or replace function tasker.template_content(p_sha256 text) returns text
language sql stable
security definer set search_path = pg_catalog, pg_temp
as $$
    select content::text from tasker.templates where sha256 = p_sha256
$$;

-- Creates a task that was checked already: p_task is the text of {"task_uuid", "sha256" of the template, "context" as text,
-- "priority", "identity_key", "tags", "correlation_id", "parent_correlation_id", "initiator", "source_system", "reason",
-- "start_at", "limit_keys", "aging_seconds"}. Returns null, 'exists' when the identity is taken, or why the database refuses it; nothing
-- was written then, and the transaction goes on.
create or replace function tasker.task_create(p_task text) returns text
language plpgsql
security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_task record;
    v_summary json;
begin
    perform tasker.own_clock();
    select n.*, t.template_id, t.namespace into v_task
    from json_to_record(p_task::json) as n (
        task_uuid uuid, sha256 text, context text, priority smallint, identity_key text, tags json, correlation_id uuid,
        parent_correlation_id uuid, initiator text, source_system text, reason text, start_at timestamptz, limit_keys json,
        aging_seconds float8)
    join tasker.templates t on t.sha256 = n.sha256;
    if not found then
        return 'there is no template of that content';
    end if;
    select s.summary into v_summary from tasker.tasks_submit(
        array[v_task.task_uuid], array[v_task.template_id], array[v_task.context::json], array[v_task.priority],
        array[v_task.identity_key], array[v_task.tags], array[v_task.correlation_id], array[v_task.parent_correlation_id],
        array[v_task.initiator], array[v_task.source_system], array[v_task.reason], array[v_task.start_at],
        array[v_task.limit_keys], make_interval(secs => v_task.aging_seconds), '', '{}', 0, '0', false, null) s
    where s.step_uuid is null;
    if not (v_summary -> 'created' ->> 0)::boolean then
        return 'exists';
    end if;
    perform tasker.ring_event_driven('tasker.work.' || v_task.namespace);
    return null;
exception when data_exception or integrity_constraint_violation then
    return sqlerrm;
end
$$;

-- Creates a task and returns its uuid. version null: the highest one. Raises with a hint: no_data_found for an unknown
-- template, unique_violation (of the constraint tasks_identity) for an identity that is taken, check_violation for what does
-- not hold. A context is checked against the template's input_schema by a host: until then the task is paused, and if it does
-- not fit it ends in error.
create or replace function tasker.task_submit(
    namespace text, name text, context json default '{}', version text default null, priority int default null,
    idempotency_key text default null, tags text[] default '{}', start_at timestamptz default null,
    correlation_id uuid default null, parent_correlation_id uuid default null, initiator text default 'sql',
    source_system text default 'sql', reason text default 'Task requested', aging_interval interval default null
) returns uuid
language plpgsql
security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    v_template record;
    v_told tasker.host_settings;
    v_task uuid := tasker.uuid7();
    v_summary json;
    v_wrong text;
begin
    perform tasker.own_clock();
    select t.template_id, t.version, t.identity_strategy, t.unique_for, t.has_input_schema, t.content into v_template
    from tasker.templates t
    where t.namespace = task_submit.namespace and t.name = task_submit.name
      and (task_submit.version is null or t.version = task_submit.version)
    order by string_to_array(t.version, '.')::numeric[] desc, t.registered_at desc limit 1;
    if not found then
        raise no_data_found using
            message = format('no template %s/%s%s', namespace, name, coalesce(' of version ' || version, '')),
            hint = tasker.template_hint(namespace, name);
    end if;
    select * into v_told from tasker.host_settings;
    perform tasker.context_check(context, v_told.context_max_bytes, v_told.context_max_depth);
    aging_interval := coalesce(aging_interval, v_told.aging_interval);
    tags := coalesce(tags, '{}');
    select format('%s must have from 1 to %s characters (got %s)', t.what, t.most, coalesce(length(t.given)::text, 'null'))
    into v_wrong
    from (values ('initiator', initiator, 255), ('source_system', source_system, 255), ('reason', reason, 500),
                 ('idempotency_key', coalesce(idempotency_key, '-'), 255)) as t (what, given, most)
    where t.given is null or length(t.given) not between 1 and t.most
    union all
    select format('a tag must have from 1 to 128 characters (got %s)', coalesce(length(t.tag)::text, 'null'))
    from unnest(tags) as t (tag) where t.tag is null or length(t.tag) not between 1 and 128
    union all
    select format('there must be at most 100 tags (got %s)', cardinality(tags)) where cardinality(tags) > 100
    union all
    select format('priority must be from -100 to 100 (got %s)', priority) where priority not between -100 and 100
    union all
    select format('start_at must be of a year from 2 to 9998 (got %s)', start_at)
    where start_at < '0002-01-01 00:00:00+00' or start_at >= '9999-01-01 00:00:00+00'
    union all
    select format('aging_interval must be more than 0, at most a day (got %s)', aging_interval)
    where aging_interval <= '0' or aging_interval > '1 day';
    if v_wrong is not null then
        raise check_violation using message = v_wrong;
    elsif v_template.identity_strategy = 'caller_provided' and idempotency_key is null then
        raise check_violation using
            message = format('%s/%s %s needs an idempotency_key', namespace, name, v_template.version),
            hint = 'its identity_strategy is caller_provided';
    end if;
    select s.summary into v_summary from tasker.tasks_submit(
        array[v_task], array[v_template.template_id], array[context],
        array[coalesce(priority, (v_template.content ->> 'priority')::int, 0)::smallint],
        array[tasker.identity_key(namespace, name, v_template.version, v_template.identity_strategy, context, idempotency_key)],
        array[nullif(to_json(array(select json_array_elements_text(coalesce(v_template.content -> 'tags', '[]'))) || tags)::text, '[]')::json],
        array[coalesce(correlation_id, tasker.uuid7())], array[parent_correlation_id], array[initiator], array[source_system],
        array[reason], array[start_at], array[tasker.concurrency_keys(namespace, v_template.content, context)], aging_interval,
        '', '{}', 0, '0', false, null) s
    where s.step_uuid is null;
    if not (v_summary -> 'created' ->> 0)::boolean then
        raise unique_violation using
            message = format('a task of %s/%s %s with this identity already exists', namespace, name, v_template.version),
            hint = case v_template.unique_for when 'forever' then '' when 'running' then 'wait until that task is over, '
                        else coalesce('wait until that task is ' || v_template.unique_for || ' seconds old, ', '') end
                   || case when idempotency_key is null
                           then 'change the context, give an idempotency_key, or set identity_strategy: always_unique in the template'
                           else 'give another idempotency_key' end,
            schema = 'tasker', table = 'tasks', constraint = 'tasks_identity';
    end if;
    if v_template.has_input_schema then
        insert into tasker.unchecked (task_uuid) values (v_task);
        perform tasker.tasks_operate('pause', array[v_task], 'task_submit', 'a host checks its context first', '{}');
    end if;
    perform tasker.ring_event_driven(
        case when v_template.has_input_schema then 'tasker.requests' else 'tasker.work.' || namespace end);
    return v_task;
end
$$;

-- After the commit of new tasks: workers of these namespaces look at once, and hosts look for requests. Not within that
-- transaction: a notification holds up every other commit of the server until its own is on disk.
create or replace function tasker.ring(variadic namespaces text[] default '{}') returns void
language sql as $$
    select pg_notify('tasker.requests', '');
    select pg_notify('tasker.work.' || n, '') from unnest(namespaces) n;
$$;

revoke all on function
    tasker.template_hint, tasker.template_versions, tasker.template_content, tasker.task_create, tasker.task_submit
from public;
