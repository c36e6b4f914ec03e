-- When two requests mean the same task, and what a context must hold to: in SQL what domain/identity.py, domain/concurrency.py
-- and domain/request.py say in Python. Tests hold the two to each other.

-- A fraction as Python writes it: the fewest digits that are this number, with an exponent below 1e-4 and from 1e16 on.
create or replace function tasker.canonical_number(p_value float8) returns text
language plpgsql immutable parallel safe
set extra_float_digits = 1          -- all digits, whatever the caller's session shows
as $$
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
    v_number numeric;
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
            if length(v_text) > 4300 then
                raise numeric_value_out_of_range using message = 'an integer of more than 4,300 digits', hint = 'give it as a string';
            end if;
            return case v_text when '-0' then '0' else v_text end;
        end if;
        -- What rounds to zero is zero, as everywhere else; what rounds to infinity is no number.
        v_number := v_text::numeric;
        if abs(v_number) < 2.47032822920623272088284396434110686182e-324 then
            return case when v_text like '-%' then '-0.0' else '0.0' end;
        elsif abs(v_number) >= 1.797693134862315807937e308 then
            raise numeric_value_out_of_range using
                message = format('the number %s is beyond the range of a float', left(v_text, 40)), hint = 'give it as a string';
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

-- The business keys of a task: {"*": of all its steps, "name": of that step}; null when its template has no concurrency_key.
create or replace function tasker.concurrency_keys(p_namespace text, p_content json, p_context json) returns json
language plpgsql immutable parallel safe as $$
declare
    v_field constant text := '\{\{?\s*([A-Za-z_][A-Za-z0-9_\u0080-\U0010ffff-]*(?:\.[A-Za-z0-9_\u0080-\U0010ffff-]+)*)\s*\}?\}';
    v_said record;
    v_path text[];
    v_part text;
    v_value json;
    v_rest text;
    v_key text;
    v_keys jsonb;
begin
    for v_said in
        select '*' as name, p_content ->> 'concurrency_key' as expression where p_content ->> 'concurrency_key' is not null
        union all
        select s ->> 'name', s ->> 'concurrency_key' from json_array_elements(p_content -> 'steps') s
        where s ->> 'concurrency_key' is not null
    loop
        v_key := '';
        v_rest := v_said.expression;
        while v_rest ~ v_field loop
            v_path := string_to_array(substring(v_rest from v_field), '.');
            if v_path[1] = 'context' and p_context -> 'context' is null then
                v_path := v_path[2:];
            end if;
            v_value := p_context;
            foreach v_part in array v_path loop
                v_value := case when json_typeof(v_value) = 'object' then v_value -> v_part end;
            end loop;
            if coalesce(json_typeof(v_value), 'null') in ('null', 'object', 'array') then
                raise check_violation using
                    message = format('context.%s must be text or a number', array_to_string(v_path, '.')),
                    hint = format('the template has the concurrency_key %s', v_said.expression);
            end if;
            v_key := v_key || left(v_rest, regexp_instr(v_rest, v_field) - 1)
                || case json_typeof(v_value) when 'string' then v_value #>> '{}' else tasker.canonical_json(v_value) end;
            v_rest := substr(v_rest, regexp_instr(v_rest, v_field, 1, 1, 1));
        end loop;
        v_key := format('key:%s:%s%s', p_namespace, v_key, v_rest);
        if octet_length(v_key) > 1000 then
            raise check_violation using
                message = format('context gives a concurrency_key of %s bytes, more than the 1,000 allowed', octet_length(v_key)),
                hint = format('the template has the concurrency_key %s', v_said.expression);
        end if;
        v_keys := coalesce(v_keys, '{}') || jsonb_build_object(v_said.name, v_key);
    end loop;
    return v_keys;
end
$$;

-- Raises check_violation unless the context is an object that JSON can say, of at most so many bytes and levels.
create or replace function tasker.context_check(p_context json, p_max_bytes int, p_max_depth int) returns void
language plpgsql immutable as $$
declare
    v_context jsonb;
begin
    if json_typeof(p_context) is distinct from 'object' then
        raise check_violation using message = format('the context must be an object (got %s)', coalesce(json_typeof(p_context), 'null'));
    elsif octet_length(p_context::text) > p_max_bytes then
        raise check_violation using
            message = format('the context has %s bytes, more than the %s allowed', octet_length(p_context::text), p_max_bytes),
            hint = 'pass a reference instead';
    end if;
    begin
        v_context := p_context;
    exception when untranslatable_character or invalid_text_representation or numeric_value_out_of_range then
        raise check_violation using
            message = format('the context holds what cannot be stored: %s', sqlerrm),
            hint = 'U+0000, half of a surrogate pair, and numbers of more than 131,072 digits have no place here';
    end;
    if jsonb_path_exists(
        v_context, format('strict $.**{%s to last} ? (@.type() == "object" || @.type() == "array")', p_max_depth)::jsonpath) then
        raise check_violation using message = format('the context is nested more than %s levels deep', p_max_depth);
    elsif jsonb_path_exists(v_context, 'strict $.** ? (@.type() == "number" && (@ > 1.7e308 || @ < -1.7e308))') then
        perform tasker.canonical_json(p_context);
    end if;
end
$$;
