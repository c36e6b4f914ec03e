-- Tasks from plain SQL: `select tasker.task_submit('payments', 'charge_order', '{"order_id": 7}')` inside any transaction.

-- A fraction as Python writes it: the fewest digits that are this number, with an exponent below 1e-4 and from 1e16 on.
create or replace function tasker.canonical_number(p_value float8) returns text
language plpgsql immutable parallel safe as $$
declare
    v_exact numeric := p_value::text::numeric;
    v_short numeric;
    v_exponent int;
    v_mantissa numeric;
begin
    if p_value = 0 then
        return case when p_value::text = '-0' then '-0.0' else '0.0' end;
    end if;
    v_exponent := case when abs(v_exact) >= 1 then length(trunc(abs(v_exact))::text) - 1
                       else -length(substring(abs(v_exact)::text from '^0\.(0*)')) - 1 end;
    for v_digits in 15 .. 17 loop
        v_short := round(v_exact, v_digits - 1 - v_exponent);
        continue when abs(v_short) > 1.7976931348623157e308;
        exit when v_short::text::float8 = p_value;
    end loop;
    if v_exponent between -4 and 15 and abs(v_short) < 1e16 then
        v_short := trim_scale(v_short);
        return v_short::text || case when scale(v_short) = 0 then '.0' else '' end;
    end if;
    v_mantissa := v_short * ('1e' || -v_exponent)::numeric;
    if abs(v_mantissa) >= 10 then
        v_mantissa := v_mantissa / 10;
        v_exponent := v_exponent + 1;
    end if;
    return trim_scale(v_mantissa)::text || 'e' || case when v_exponent < 0 then '-' else '+' end
           || lpad(abs(v_exponent)::text, greatest(2, length(abs(v_exponent)::text)), '0');
end
$$;

-- The one text of equal JSON values, as domain/json.py writes it: keys sorted at every depth, compact. 1 and 1.0 differ.
create or replace function tasker.canonical_json(p_value json) returns text
language plpgsql immutable parallel safe as $$
declare
    v_kind text := json_typeof(p_value);
    v_text text;
begin
    if p_value is null or v_kind = 'null' then
        return 'null';
    elsif v_kind = 'object' then
        -- Of a key that is given twice the last one counts.
        return '{' || coalesce((
            select string_agg(to_json(e.key)::text || ':' || tasker.canonical_json(e.value), ',' order by e.key collate "C")
            from (select distinct on (o.key collate "C") o.key, o.value
                  from json_each(p_value) with ordinality as o (key, value, position)
                  order by o.key collate "C", o.position desc) e), '') || '}';
    elsif v_kind = 'array' then
        return '[' || coalesce((
            select string_agg(tasker.canonical_json(e.value), ',' order by e.position)
            from json_array_elements(p_value) with ordinality as e (value, position)), '') || ']';
    elsif v_kind = 'string' then
        return to_json(p_value #>> '{}')::text;
    elsif v_kind = 'number' then
        v_text := p_value #>> '{}';
        if v_text !~ '[.eE]' then
            return case v_text when '-0' then '0' else v_text end;
        end if;
        return tasker.canonical_number(v_text::float8);
    end if;
    return p_value #>> '{}';
end
$$;

-- What is unique among tasks, as domain/identity.py makes it; null when every submission is a task of its own.
create or replace function tasker.identity_key(
    p_namespace text, p_name text, p_version text, p_strategy text, p_context json, p_key text
) returns text
language sql immutable parallel safe as $$
    select case when p_key is null and p_strategy = 'always_unique' then null
           else encode(sha256(convert_to(tasker.canonical_json(json_build_array(
               p_namespace, p_name, p_version, case when p_key is null then 'context' else 'key' end,
               case when p_key is null then p_context else to_json(p_key) end)), 'UTF8')), 'hex') end
$$;

-- Creates a task and returns its uuid. p_version null: the highest one. Raises with a hint: no_data_found for an unknown
-- template, unique_violation for an identity that is taken, check_violation for what does not hold. The context is not
-- checked against the template's input_schema: handlers that declare their inputs check what they are given.
create or replace function tasker.task_submit(
    namespace text, name text, context json default '{}', version text default null, priority int default null,
    idempotency_key text default null, tags text[] default '{}', start_at timestamptz default null,
    correlation_id uuid default null, parent_correlation_id uuid default null, initiator text default 'sql',
    source_system text default 'sql', reason text default 'Task requested', aging_interval interval default '300 seconds'
) returns uuid
language plpgsql as $$
#variable_conflict use_variable
declare
    v_template record;
    v_task uuid := tasker.uuid7();
    v_summary json;
    v_near text;
begin
    select t.template_id, t.version, t.identity_strategy, t.content into v_template
    from tasker.templates t
    where t.namespace = task_submit.namespace and t.name = task_submit.name
      and (task_submit.version is null or t.version = task_submit.version)
    order by string_to_array(t.version, '.')::int[] desc, t.registered_at desc limit 1;
    if not found then
        select string_agg(distinct t.namespace || '/' || t.name || ' ' || t.version, ', ') into v_near
        from tasker.templates t where t.namespace = task_submit.namespace or t.name = task_submit.name;
        raise no_data_found using
            message = format('no template %s/%s%s', namespace, name, coalesce(' of version ' || version, '')),
            hint = coalesce('there is ' || v_near, 'start a host whose plugins give it: it registers its templates');
    end if;
    if json_typeof(context) is distinct from 'object' then
        raise check_violation using message = format('the context must be an object (got %s)', coalesce(json_typeof(context), 'null'));
    elsif priority not between -100 and 100 then
        raise check_violation using message = format('priority must be from -100 to 100 (got %s)', priority);
    elsif v_template.identity_strategy = 'caller_provided' and idempotency_key is null then
        raise check_violation using
            message = format('%s/%s %s needs an idempotency_key', namespace, name, v_template.version),
            hint = 'its identity_strategy is caller_provided';
    elsif v_template.content ->> 'concurrency_key' is not null or exists (
        select from json_array_elements(v_template.content -> 'steps') s where s ->> 'concurrency_key' is not null)
    then
        raise feature_not_supported using
            message = format('%s/%s %s has a concurrency_key, which is not evaluated in SQL', namespace, name, v_template.version),
            hint = 'submit it through a host or a client';
    end if;
    select s.summary into v_summary from tasker.tasks_submit(
        array[v_task], array[v_template.template_id], array[context],
        array[coalesce(priority, (v_template.content ->> 'priority')::int, 0)::smallint],
        array[tasker.identity_key(namespace, name, v_template.version, v_template.identity_strategy, context, idempotency_key)],
        array[nullif(to_json(array(select json_array_elements_text(coalesce(v_template.content -> 'tags', '[]'))) || tags)::text, '[]')::json],
        array[coalesce(correlation_id, tasker.uuid7())], array[parent_correlation_id], array[initiator], array[source_system],
        array[reason], array[start_at], array[null::json], aging_interval, '', '{}', 0, '0', false, null) s
    where s.step_uuid is null;
    if not (v_summary -> 'created' ->> 0)::boolean then
        raise unique_violation using
            message = format('a task of %s/%s %s with this identity already exists', namespace, name, v_template.version),
            hint = 'change the context, give another idempotency_key, or set identity_strategy: always_unique in the template';
    end if;
    return v_task;
end
$$;
