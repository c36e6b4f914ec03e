-- The moves that operators may ask for, as domain/moves.py has them (a test compares the two).

create or replace function tasker.operator_moves()
returns table (kind text, from_state text, event text, to_state text)
language sql immutable parallel safe as $$
    select 'task', s, 'cancel', 'cancelled' from unnest(array['pending', 'initializing', 'enqueuing_steps', 'steps_in_process',
        'evaluating_results', 'waiting_for_dependencies', 'waiting_for_retry', 'blocked_by_failures', 'paused']) s
    union all
    select 'task', s, 'pause', 'paused' from unnest(array['pending', 'initializing', 'enqueuing_steps', 'steps_in_process',
        'evaluating_results', 'waiting_for_dependencies', 'waiting_for_retry', 'blocked_by_failures']) s
    union all
    values ('task', 'paused', 'resume', 'pending'), ('task', 'error', 'reset', 'pending'),
           ('task', 'blocked_by_failures', 'repair', 'evaluating_results'), ('task', 'error', 'repair', 'evaluating_results'),
           ('task', 'blocked_by_failures', 'manual_resolution', 'resolved_manually')
    union all
    select 'task', s, 'rerun', 'evaluating_results' from unnest(array['blocked_by_failures', 'error', 'complete', 'cancelled',
        'resolved_manually']) s
    union all
    select 'task', s, 'resolve_manually', 'resolved_manually' from unnest(array['pending', 'initializing', 'enqueuing_steps',
        'steps_in_process', 'evaluating_results', 'waiting_for_dependencies', 'waiting_for_retry', 'blocked_by_failures',
        'paused', 'complete', 'error', 'cancelled', 'resolved_manually']) s
    union all
    select 'step', s, 'cancel', 'cancelled' from unnest(array['pending', 'enqueued', 'in_progress',
        'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration', 'waiting_for_retry', 'error']) s
    union all
    values ('step', 'error', 'retry', 'pending'), ('step', 'error', 'reset_for_retry', 'pending')
    union all
    select 'step', s, 'rerun', 'pending' from unnest(array['pending', 'complete', 'error', 'cancelled', 'resolved_manually']) s
    union all
    select 'step', s, e.event, e.to_state
    from unnest(array['pending', 'enqueued', 'in_progress', 'enqueued_for_orchestration',
        'enqueued_as_error_for_orchestration', 'waiting_for_retry', 'complete', 'error', 'cancelled', 'resolved_manually']) s
    cross join (values ('complete_manually', 'complete'), ('resolve_manually', 'resolved_manually')) e (event, to_state)
$$;

-- The state to which an operator's event leads; null when it is refused.
create or replace function tasker.operator_move(p_kind text, p_state text, p_event text) returns text
language sql stable as $$
    select m.to_state from tasker.operator_moves() m where m.kind = p_kind and m.from_state = p_state and m.event = p_event
$$;
