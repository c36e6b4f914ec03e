-- Limits: how many steps of a key run at once, and how many of them start per second.
--
-- A step that was just taken asks for room under all its keys (steps_admit); where there is none, it is put back and
-- parked: out of sight of every claim, until steps that end make room (limits_release). So a limit that binds costs
-- one look per step, however many wait. A rate gives each step its turn once, when it is first taken.
--
-- Whoever releases waits for the rows of its keys, in key order; whoever asks skips rows that are locked and comes back
-- a moment later: the two cannot deadlock.

-- The business keys of a step as one text: the only one itself, or several as an array, which no key looks like.
-- Declared as volatile as its cast is: else it would be called, and not put in place.
create or replace function tasker.keys_as_text(p_keys text[]) returns text
language sql stable parallel safe as $$
    select case when p_keys[2] is null then p_keys[1] else p_keys::text end
$$;

-- The business keys of a step: its own, or the one of all steps of its task.
create or replace function tasker.keys_of(p_of_step text[], p_of_all text) returns text[]
language sql immutable parallel safe as $$
    select coalesce(p_of_step, case when p_of_all is not null then array[p_of_all] end)
$$;

-- The keys of steps, with the limit that their template gives them.
create or replace function tasker.limit_keys_of(p_steps uuid[])
returns table (step_uuid uuid, key text, own_max int)
language sql stable rows 100 as $$
    select s.step_uuid, k.key, k.own_max
    from unnest(p_steps) as u (step_uuid)
    join tasker.steps s on s.step_uuid = u.step_uuid
    join tasker.tasks t on t.task_uuid = s.task_uuid
    join tasker.template_rules d on d.template_id = t.template_id and d.name = s.template_step
    cross join lateral (
        select l.key, null::int from tasker.limits l
        where l.is_fixed and l.key in ('namespace:' || t.namespace, 'handler:' || d.handler)
        union all
        select w.key, case when w.key like 'batch:%' then d.parallelism else d.concurrency_limit end
        from unnest(tasker.keys_of(s.limit_keys, t.limit_key)) as w (key)
    ) k (key, own_max)
$$;

-- What steps ask for together: keys in their order, how many steps of each, and the least limit that templates give it.
-- Rules are looked up once for all steps of the same kind: many steps of few kinds are the rule.
create or replace function tasker.limit_demand(p_steps uuid[], out keys text[], out wanted int[], out own int[])
language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = on            -- which the callers switch off for their own sake
set enable_sort = on
as $$
begin
    with asking as materialized (
        select t.namespace, t.template_id, s.template_step, tasker.keys_of(s.limit_keys, t.limit_key) as limit_keys
        from unnest(p_steps) as u (step_uuid)
        join tasker.steps s on s.step_uuid = u.step_uuid
        join tasker.tasks t on t.task_uuid = s.task_uuid
    ), kind as materialized (
        select g.*, d.handler, d.parallelism, d.concurrency_limit
        from (select a.namespace, a.template_id, a.template_step, count(*) as steps
              from asking a group by a.namespace, a.template_id, a.template_step) g
        join tasker.template_rules d on d.template_id = g.template_id and d.name = g.template_step
    )
    select array_agg(k.key), array_agg(k.wanted), array_agg(k.own_max) into keys, wanted, own
    from (
        select k.key, sum(k.wanted)::int as wanted, min(k.own_max) as own_max
        from (
            select l.key, g.steps as wanted, null::int as own_max
            from kind g join tasker.limits l on l.is_fixed and l.key in ('namespace:' || g.namespace, 'handler:' || g.handler)
            union all
            select w.key, 1, case when w.key like 'batch:%' then g.parallelism else g.concurrency_limit end
            from asking a
            join kind g on g.template_id = a.template_id and g.template_step = a.template_step
            cross join unnest(a.limit_keys) as w (key)
            where a.limit_keys is not null
        ) k
        group by k.key order by k.key
    ) k;
end
$$;

-- Puts steps back that were taken in this transaction: they were never run, and history does not say so.
-- p_until: when each comes into sight again. p_told: rows of the history among which theirs are, by their place: they need
-- not be found again among all that a task has.
create or replace function tasker.steps_put_back(
    p_steps uuid[], p_until timestamptz[], p_rate_at timestamptz[], p_told tid[], p_now timestamptz
) returns void
language plpgsql as $$
declare
    v_change record;
begin
    for v_change in
        with back as (
            update tasker.steps s
            set state = 'enqueued', state_since = p_now, attempts = s.attempts - 1, worker = null, rate_at = b.rate_at
            from unnest(p_steps, p_until, p_rate_at) as b (step_uuid, until, rate_at)
            where s.step_uuid = b.step_uuid
            returning s.task_uuid, s.msg_id, b.until
        )
        select t.namespace, array_agg(back.msg_id) as messages, array_agg(back.until) as until
        from back join tasker.tasks t on t.task_uuid = back.task_uuid group by t.namespace
    loop
        perform tasker.queue_apply(v_change.namespace, null, v_change.messages, v_change.until, null, null, null, p_now,
                                   null, null, null, null, null, null);
    end loop;
    delete from tasker.step_history
    where ctid = any (p_told) and step_uuid = any (p_steps) and from_state = 'enqueued';
    update tasker.step_history
    set to_state = 'enqueued', attempt = attempt - 1, worker = null, reason = 'limit'
    where ctid = any (p_told) and step_uuid = any (p_steps) and from_state <> 'enqueued';
end
$$;

-- Brings up to p_room parked steps of a key back into their queues (null: all); the namespaces of these.
create or replace function tasker.limit_unpark(p_key text, p_room int, p_now timestamptz) returns text[]
language plpgsql as $$
declare
    v_change record;
    v_namespaces text[] := '{}';
begin
    for v_change in
        with first as materialized (
            select step_uuid from tasker.parked where key = p_key order by rank limit p_room for update skip locked
        ), freed as (
            delete from tasker.parked p using first f where p.step_uuid = f.step_uuid
            returning p.namespace, p.msg_id, p.rank, p.lane
        )
        select namespace, array_agg(msg_id) as messages, array_agg(rank) as ranks, array_agg(lane) as lanes
        from freed group by namespace
    loop
        perform tasker.queue_apply(v_change.namespace, null, null, null, v_change.messages, v_change.ranks, v_change.lanes,
                                   p_now, null, null, null, null, null, null);
        v_namespaces := v_namespaces || v_change.namespace;
    end loop;
    return v_namespaces;
end
$$;

-- Of steps that were just taken, in the order of their rank, those that may run; the others are put back.
-- p_told: places of the rows that tell of it in the history. p_keys: the one business key of each, where every step has one
-- and there are no limits by operators; else null.
-- work_for: namespaces of parked steps that came back for room which a step that was put back does not use.
create or replace function tasker.steps_admit(
    p_steps uuid[], p_told tid[], p_now timestamptz, p_keys text[], out admitted uuid[], out work_for text[]
)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = on                -- which the callers switch off for their own sake
as $$
declare
    v_asked text[];              -- keys, in order
    v_wanted int[];              -- how many steps ask for each
    v_least int[];               -- the least limit that templates give it
    v_new text[];                -- keys under which nothing ran
    v_rest text[];               -- the other ones, in order, and what is asked of them
    v_rest_wanted int[];
    v_rest_least int[];
    v_of uuid[];                 -- demands: of this step
    v_keys text[];               --          for this key
    v_own int[];                 --          at most so many
    v_limits tasker.limits[];    -- the rows that could be locked, by key
    v_limit tasker.limits;
    v_names text[];
    v_places int[];
    v_step record;
    v_due timestamptz;
    v_parked_at text;
    v_is_busy boolean;
    v_parked uuid[] := '{}';
    v_parked_keys text[] := '{}';
    v_free text[] := '{}';       -- keys whose room a step that was put back left
    v_back uuid[] := '{}';
    v_until timestamptz[] := '{}';
    v_rate_at timestamptz[] := '{}';
    v_turns uuid[] := '{}';      -- admitted by the turn that a rate gave them before
    v_i int;
    v_tolerance interval;
begin
    admitted := p_steps;
    work_for := '{}';
    if p_keys is not null then
        -- One step under a key under which nothing runs needs no look at what the limit is. Keys that somebody is giving up are
        -- still there for this look: an insert would wait for him. `on conflict` would cost half as much again as all of this.
        if not exists (select from tasker.limits l where l.key = any (p_keys)) then
            begin
                insert into tasker.limits (key, is_fixed, running) select k, false, 1 from unnest(p_keys) k order by k;
                return;
            exception when unique_violation then
                null;
            end;
        end if;
    end if;
    select d.keys, d.wanted, d.own into v_asked, v_wanted, v_least from tasker.limit_demand(p_steps) d;
    if v_asked is null then
        return;
    end if;
    with new as (
        insert into tasker.limits (key, is_fixed, running)
        select d.key, false, d.wanted from unnest(v_asked, v_wanted) as d (key, wanted)
        where not exists (select from tasker.limits l where l.key = d.key) order by d.key
        on conflict (key) do nothing returning key
    )
    select array_agg(new.key) into v_new from new;
    v_rest := v_asked;
    v_rest_wanted := v_wanted;
    v_rest_least := v_least;
    if v_new is not null then
        select array_agg(d.key order by d.key), array_agg(d.wanted order by d.key), array_agg(d.own order by d.key)
        into v_rest, v_rest_wanted, v_rest_least
        from unnest(v_asked, v_wanted, v_least) as d (key, wanted, own)
        where d.key not in (select n from unnest(v_new) n);
    end if;
    if v_rest is not null then
        select array_agg(l order by l.key), array_agg(l.key order by l.key) into v_limits, v_names
        from (select * from tasker.limits where key = any (v_rest) order by key for no key update skip locked) l;
    end if;

    -- The common case: there is room for all. What was locked and what is asked for are in the same order.
    if v_names is not distinct from v_rest
        and not exists (select from unnest(v_wanted, v_least) as d (wanted, own) where d.wanted > d.own)
        and (v_rest is null or (
            select bool_and(not l.paused and l.per_second is null
                            and coalesce(l.running + d.wanted <= coalesce(l.max_running, d.own_max), true))
            from rows from (unnest(v_limits), unnest(v_rest_wanted), unnest(v_rest_least))
                as l (key, is_fixed, max_running, per_second, burst, paused, running, next_start_at, wanted, own_max)
            cross join lateral (select l.wanted, l.own_max) d))
    then
        if v_rest is not null then
            update tasker.limits l set running = l.running + d.wanted
            from unnest(v_rest, v_rest_wanted) as d (key, wanted) where l.key = d.key;
        end if;
        return;
    end if;
    if v_new is not null then
        -- Judged one by one with the others, from nothing.
        update tasker.limits set running = 0 where key = any (v_new);
        select array_agg(l order by l.key), array_agg(l.key order by l.key) into v_limits, v_names
        from (select * from tasker.limits where key = any (v_asked) order by key for no key update skip locked) l;
    end if;

    select array_agg(k.step_uuid), array_agg(k.key), array_agg(k.own_max) into v_of, v_keys, v_own
    from tasker.limit_keys_of(p_steps) k;
    -- Those that ask for nothing need no room.
    admitted := array(select u from unnest(p_steps) u where u <> all (v_of));
    for v_step in
        select s.step_uuid, s.rate_at, k.keys, k.owns
        from (select d.step_uuid, array_agg(d.key) as keys, array_agg(d.own_max) as owns
              from unnest(v_of, v_keys, v_own) as d (step_uuid, key, own_max) group by d.step_uuid) k
        join tasker.steps s on s.step_uuid = k.step_uuid
        order by array_position(p_steps, s.step_uuid)
    loop
        v_parked_at := null;
        v_is_busy := false;
        v_due := p_now;
        v_places := '{}';
        for v_i in 1 .. cardinality(v_step.keys) loop
            v_places := v_places || array_position(v_names, v_step.keys[v_i]);
            if v_places[v_i] is null then
                v_is_busy := true;
                continue;
            end if;
            v_limit := v_limits[v_places[v_i]];
            if v_limit.paused or v_limit.running >= coalesce(v_limit.max_running, v_step.owns[v_i]) then
                v_parked_at := coalesce(v_parked_at, v_limit.key);
            elsif v_limit.per_second is not null and v_step.rate_at is null then
                v_tolerance := make_interval(secs => (v_limit.burst - 1) / v_limit.per_second);
                v_due := greatest(v_due, v_limit.next_start_at - v_tolerance);
            end if;
        end loop;
        if v_parked_at is not null then
            v_parked := v_parked || v_step.step_uuid;
            v_parked_keys := v_parked_keys || v_parked_at;
            v_back := v_back || v_step.step_uuid;
            v_until := v_until || 'infinity'::timestamptz;
            v_rate_at := v_rate_at || v_step.rate_at;
            v_free := v_free || v_step.keys;
            continue;
        elsif v_is_busy then
            v_back := v_back || v_step.step_uuid;
            v_until := v_until || (p_now + interval '5 milliseconds');
            v_rate_at := v_rate_at || v_step.rate_at;
            continue;
        end if;
        for v_i in 1 .. cardinality(v_step.keys) loop
            v_limit := v_limits[v_places[v_i]];
            if v_limit.per_second is not null and v_step.rate_at is null then
                v_limit.next_start_at := greatest(v_limit.next_start_at, p_now) + make_interval(secs => 1 / v_limit.per_second);
            end if;
            if v_due <= p_now then
                v_limit.running := v_limit.running + 1;
            end if;
            v_limits[v_places[v_i]] := v_limit;
        end loop;
        if v_due > p_now then
            v_free := v_free || v_step.keys;
            v_back := v_back || v_step.step_uuid;
            v_until := v_until || v_due;
            v_rate_at := v_rate_at || v_due;
        else
            admitted := admitted || v_step.step_uuid;
            if v_step.rate_at is not null then
                v_turns := v_turns || v_step.step_uuid;
            end if;
        end if;
    end loop;

    update tasker.limits l set running = n.running, next_start_at = n.next_start_at
    from unnest(v_limits) n where l.key = n.key;
    if v_turns <> '{}' then
        update tasker.steps set rate_at = null where step_uuid = any (v_turns);
    end if;
    if v_back <> '{}' then
        perform tasker.steps_put_back(v_back, v_until, v_rate_at, p_told, p_now);
    end if;
    if v_parked <> '{}' then
        insert into tasker.parked (step_uuid, task_uuid, key, rank, namespace, msg_id, lane)
        select s.step_uuid, s.task_uuid, u.key, t.rank - coalesce(s.priority, 0) * t.aging_us, t.namespace, s.msg_id, s.lane
        from unnest(v_parked, v_parked_keys) as u (step_uuid, key)
        join tasker.steps s on s.step_uuid = u.step_uuid join tasker.tasks t on t.task_uuid = s.task_uuid
        on conflict (step_uuid) do update set key = excluded.key;
    end if;
    -- A step that came back for room under one key may have found none under another: its turn is the next one's.
    for v_limit in
        select l.* from unnest(v_limits) l
        where l.key = any (v_free) and not l.paused and exists (select from tasker.parked p where p.key = l.key) order by l.key
    loop
        v_i := coalesce(v_limit.max_running, (select min(own) from unnest(v_keys, v_own) as k (key, own) where k.key = v_limit.key))
               - v_limit.running;
        if coalesce(v_i > 0, true) then
            work_for := work_for || tasker.limit_unpark(v_limit.key, v_i, p_now);
        end if;
    end loop;
end
$$;

-- Whether steps that are taken in the transaction that ends others take just the room that these leave, under every key. Then
-- nothing is counted and no row is locked: so a chain costs its limits a look, unless somebody waits for the room.
-- p_…_keys: the business keys of each such step that has any. p_…_templates, p_…_names: where operators set limits, the
-- template of each and its name in it.
create or replace function tasker.limits_handed_on(
    p_ended_keys text[], p_taken_keys text[],
    p_ended_templates int[], p_ended_names text[], p_taken_templates int[], p_taken_names text[]
) returns boolean
language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = on            -- which the callers switch off for their own sake
set enable_sort = on
as $$
begin
    if cardinality(p_ended_keys) <> cardinality(p_taken_keys)
        or exists (select from tasker.parked)
        or exists (select from tasker.limits l where l.is_fixed and (l.paused or l.per_second is not null or l.running > l.max_running))
    then
        return false;
    end if;
    if p_ended_keys <> '{}' and array(select k from unnest(p_ended_keys) k order by k collate "C")
                                <> array(select k from unnest(p_taken_keys) k order by k collate "C")
    then
        return false;
    end if;
    if not exists (select from tasker.limits l where l.is_fixed) then
        return true;
    end if;
    return not exists (
        select from (
            select u.template_id, u.name, sum(u.change) as change
            from (select e.template_id, e.name, -1 as change from unnest(p_ended_templates, p_ended_names) as e (template_id, name)
                  union all select k.template_id, k.name, 1 from unnest(p_taken_templates, p_taken_names) as k (template_id, name)) u
            group by u.template_id, u.name having sum(u.change) <> 0
        ) g
        join tasker.templates t on t.template_id = g.template_id
        join tasker.template_rules d on d.template_id = g.template_id and d.name = g.name
        join tasker.limits l on l.is_fixed and l.key in ('namespace:' || t.namespace, 'handler:' || d.handler)
        group by l.key having sum(g.change) <> 0);
end
$$;

-- How many steps run under each key: those of p_steps, and none for what only p_turns are to run under.
create or replace function tasker.limits_held(p_steps uuid[], p_turns uuid[], out keys text[], out held int[])
language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_sort = on
as $$
declare
    v_fixed boolean := exists (select from tasker.limits where is_fixed);
begin
    with asking as materialized (
        select u.held, t.namespace, t.template_id, s.template_step, tasker.keys_of(s.limit_keys, t.limit_key) as limit_keys
        from (select step, 1 as held from unnest(p_steps) as e (step)
              union all select step, 0 from unnest(p_turns) as k (step)) u
        join tasker.steps s on s.step_uuid = u.step
        join tasker.tasks t on t.task_uuid = s.task_uuid
    )
    select array_agg(k.key), array_agg(k.held) into keys, held
    from (
        select k.key, sum(k.held)::int as held
        from (
            select w.key, a.held from asking a cross join unnest(a.limit_keys) as w (key)
            union all
            select l.key, g.held
            from (select a.namespace, a.template_id, a.template_step, sum(a.held) as held
                  from asking a where v_fixed group by a.namespace, a.template_id, a.template_step) g
            join tasker.template_rules d on d.template_id = g.template_id and d.name = g.template_step
            join tasker.limits l on l.is_fixed and l.key in ('namespace:' || g.namespace, 'handler:' || d.handler)
        ) k
        group by k.key order by k.key
    ) k;
end
$$;

-- Steps that no longer run give up their room, and those that came back for room (p_turns) but will not run leave their turn
-- to the next; the namespaces of the parked steps that come back for it. p_keys: what p_steps ran under, if that is known.
create or replace function tasker.limits_release(
    p_steps uuid[], p_now timestamptz, p_turns uuid[] default null, p_keys text[] default null
) returns text[]
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = on                -- which the callers switch off for their own sake
as $$
declare
    v_keys text[];
    v_ended int[];
    v_waited text[];             -- keys that steps are parked for
    v_idle int;                  -- of how many keys nothing runs any more
    v_key record;
    v_namespaces text[] := '{}';
begin
    if p_keys is not null then
        select array_agg(h.key), array_agg(h.held) into v_keys, v_ended
        from (select k as key, count(*)::int as held from unnest(p_keys) k group by k order by k) h;
    else
        select h.keys, h.held into v_keys, v_ended from tasker.limits_held(p_steps, p_turns) h;
    end if;
    if v_keys is null then
        return v_namespaces;
    end if;
    perform from tasker.limits where key = any (v_keys) order by key for no key update;
    -- Statements of their own: they see what was parked by those who held the rows until now. For most keys nothing is.
    v_waited := case when exists (select from tasker.parked) then array(
        select k from unnest(v_keys) k where exists (select from tasker.parked p where p.key = k) order by k) else '{}' end;
    delete from tasker.limits l using unnest(v_keys, v_ended) as g (key, ended)
    where l.key = g.key and not l.is_fixed and l.running <= g.ended and l.key <> all (v_waited);
    get diagnostics v_idle = row_count;
    if v_idle = cardinality(v_keys) then
        return v_namespaces;
    end if;
    update tasker.limits l set running = greatest(0, l.running - g.ended)
    from unnest(v_keys, v_ended) as g (key, ended) where l.key = g.key and g.ended > 0;
    for v_key in
        select l.key, coalesce(l.max_running, own.least) - l.running as room
        from tasker.limits l
        cross join lateral (
            select min(o.own_max) as least from tasker.limit_keys_of(p_steps || p_turns) o where o.key = l.key) own
        where l.key = any (v_waited) and not l.paused order by l.key
    loop
        if coalesce(v_key.room > 0, true) then
            v_namespaces := v_namespaces || tasker.limit_unpark(v_key.key, v_key.room, p_now);
        end if;
    end loop;
    return v_namespaces;
end
$$;

-- Steps leave the queues without running: those that ran give up their room, those that were to run leave their turn to the next.
-- Whoever takes such steps away is an operator or a failure, not a worker that asks for work: so workers are told here.
create or replace function tasker.limits_leave(p_ran uuid[], p_waited uuid[], p_now timestamptz) returns void
language plpgsql
set plan_cache_mode = force_custom_plan
as $$
begin
    if not exists (select from tasker.limits) then
        return;
    end if;
    with unparked as (
        delete from tasker.parked where step_uuid = any (p_waited) returning step_uuid
    )
    select array_agg(w) into p_waited from unnest(p_waited) w where w not in (select step_uuid from unparked);
    if p_ran <> '{}' or p_waited <> '{}' then
        perform pg_notify('tasker.work.' || n, '')
        from unnest(tasker.limits_release(p_ran, p_now, p_waited)) as n;
    end if;
end
$$;

-- Room that is free while steps are parked for it goes to them. Steps that came back for it and that nobody takes (no living
-- worker serves them) are what keeps it free: the next in line must not wait for them for ever.
create or replace function tasker.limits_offer() returns text[]
language plpgsql
set plan_cache_mode = force_custom_plan
as $$
declare
    v_key record;
    v_namespaces text[] := '{}';
begin
    -- Whoever was under way when a limit was changed has ended by now; what these did not count is counted.
    delete from tasker.recounts
    where after < pg_snapshot_xmin(pg_current_snapshot()) and at < tasker.now() - interval '5 seconds';
    if found then
        perform tasker.limits_recount();
    end if;
    for v_key in
        select l.key, coalesce(l.max_running, first.own_max) - l.running as room
        from (select key from tasker.limits where key in (select distinct key from tasker.parked)
              order by key for no key update) k
        join tasker.limits l on l.key = k.key
        cross join lateral (
            select max(o.own_max) as own_max
            from tasker.limit_keys_of(array(select p.step_uuid from tasker.parked p where p.key = l.key order by p.rank limit 1)) o
            where o.key = l.key) first
        where not l.paused order by l.key
    loop
        if coalesce(v_key.room > 0, true) then
            v_namespaces := v_namespaces || tasker.limit_unpark(v_key.key, v_key.room, tasker.now());
        end if;
    end loop;
    -- Keys of which nothing runs nor waits any more: the last of their steps had waited, and left without running.
    delete from tasker.limits l
    using (select key from tasker.limits where not is_fixed and running = 0 order by key for update skip locked) idle
    where l.key = idle.key and not exists (select from tasker.parked p where p.key = l.key);
    perform pg_notify('tasker.work.' || n, '') from unnest(v_namespaces) n;
    return v_namespaces;
end
$$;

-- Counts anew what runs under each limit: exact after a limit was made, and a remedy against any drift.
create or replace function tasker.limits_recount() returns void
language plpgsql as $$
declare
    v_namespace text;
    v_steps uuid[] := '{}';
    v_some uuid[];
begin
    perform from tasker.limits order by key for no key update;
    for v_namespace in select name from tasker.namespaces order by name loop
        execute format($q$
            select array_agg(s.step_uuid) from pgmq.%I w join tasker.steps s on s.step_uuid = tasker.message_step(w.message)
            where (w.headers -> 'rank') is null and s.state = 'in_progress'$q$, 'q_' || v_namespace || '_queue') into v_some;
        v_steps := v_steps || coalesce(v_some, '{}');
    end loop;
    update tasker.limits l set running = coalesce(c.running, 0)
    from tasker.limits o left join (
        select k.key, count(*)::int as running from tasker.limit_keys_of(v_steps) k group by k.key) c on c.key = o.key
    where l.key = o.key and l.running <> coalesce(c.running, 0);
end
$$;

-- Sets, changes, pauses or (everything null, not paused) removes a limit, at once and for every host; the namespaces that
-- got work by it. p_paused null: as it was.
create or replace function tasker.limit_set(
    p_key text, p_max int, p_per_second float8, p_burst int, p_paused boolean, p_actor text, p_reason text
) returns text[]
language plpgsql as $$
declare
    v_now timestamptz := tasker.now();
    v_was tasker.limits;
    v_paused boolean;
    v_running int;
    v_namespace text;
    v_steps uuid[];
    v_messages bigint[];
    v_ranks bigint[];
    v_lanes text[];
    v_namespaces text[] := '{}';
begin
    insert into tasker.limits (key, is_fixed) values (p_key, true) on conflict (key) do nothing;
    select * into v_was from tasker.limits where key = p_key for no key update;
    v_paused := coalesce(p_paused, v_was.paused);
    update tasker.limits
    set is_fixed = p_max is not null or p_per_second is not null or v_paused, max_running = p_max, per_second = p_per_second,
        burst = coalesce(p_burst, 1), paused = v_paused, next_start_at = null
    where key = p_key;
    insert into tasker.limit_history (key, at, change, actor, reason)
    values (p_key, v_now, json_build_object('max_running', p_max, 'per_second', p_per_second, 'burst', p_burst, 'paused', v_paused,
                                            'resumed', v_was.paused and not v_paused),
            p_actor, p_reason);
    perform tasker.limits_recount();
    insert into tasker.recounts (after, at) values (pg_current_xact_id(), v_now);
    -- Turns that were given at another pace are given anew; what is paused asks for one when it is resumed.
    for v_namespace in select name from tasker.namespaces order by name loop
        execute format($q$
            select array_agg(s.step_uuid), array_agg(w.msg_id) filter (where t.state <> 'paused'),
                   array_agg(t.rank - coalesce(s.priority, 0) * t.aging_us) filter (where t.state <> 'paused'),
                   array_agg(s.lane) filter (where t.state <> 'paused')
            from pgmq.%I w join tasker.steps s on s.step_uuid = tasker.message_step(w.message)
            join tasker.tasks t on t.task_uuid = s.task_uuid
            where (w.headers -> 'rank') is null and s.rate_at is not null and s.state = 'enqueued'
              and not exists (select from tasker.parked p where p.step_uuid = s.step_uuid)
              and exists (select from tasker.template_rules d where d.template_id = t.template_id and d.name = s.template_step
                          and ($1 in ('namespace:' || t.namespace, 'handler:' || d.handler) 
                               or $1 = any (tasker.keys_of(s.limit_keys, t.limit_key))))$q$,
            'q_' || v_namespace || '_queue') into v_steps, v_messages, v_ranks, v_lanes
        using p_key;
        update tasker.steps set rate_at = null where step_uuid = any (v_steps);
        if v_messages is not null then
            perform tasker.queue_apply(v_namespace, null, null, null, v_messages, v_ranks, v_lanes, v_now,
                                       null, null, null, null, null, null);
            v_namespaces := v_namespaces || v_namespace;
        end if;
    end loop;
    select running into v_running from tasker.limits where key = p_key;
    if not v_paused and coalesce(p_max - v_running > 0, true) then
        v_namespaces := v_namespaces || tasker.limit_unpark(p_key, p_max - v_running, v_now);
    end if;
    -- What runs is counted under the keys of operators only while there is a limit.
    delete from tasker.limits
    where key = p_key and not is_fixed and (running = 0 or key like 'namespace:%' or key like 'handler:%');
    return v_namespaces;
end
$$;

-- Pauses or resumes what a key says; its numbers stay, whoever changes them meanwhile.
create or replace function tasker.limit_pause(p_key text, p_paused boolean, p_actor text, p_reason text) returns text[]
language plpgsql as $$
declare
    v_was tasker.limits;
begin
    insert into tasker.limits (key, is_fixed) values (p_key, true) on conflict (key) do nothing;
    select * into v_was from tasker.limits where key = p_key for no key update;
    return tasker.limit_set(p_key, v_was.max_running, v_was.per_second, v_was.burst, p_paused, p_actor, p_reason);
end
$$;
