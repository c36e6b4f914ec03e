-- The tables of the kernel. State is a column; history is append-only and written by the statement that moves the row.
-- Nothing that changes with every step is indexed, and pages keep room, so that updates stay heap-only.

create table tasker.namespaces (
    name text primary key check (name ~ '^[a-z_][a-z0-9_]{0,28}$'),
    queue_sequence regclass not null,        -- of the PGMQ queue {name}_queue: message ids are drawn before the insert
    created_at timestamptz not null default now()
);

-- A row per content: registering again never changes a running task, which keeps the row it was made from.
create table tasker.templates (
    template_id int generated always as identity primary key,
    namespace text not null references tasker.namespaces (name),
    name text not null,
    version text not null,
    sha256 text not null unique check (length(sha256) = 64),
    content json not null,
    steps int not null,                      -- that a task starts with
    roots int not null,                      -- of these, without parents
    registered_at timestamptz not null       -- the latest registration of (namespace, name, version) is the current one
);
create index templates_by_name on tasker.templates (namespace, name, version, registered_at desc);

-- The steps a task of this template starts with; edges and reads are positions within the same template.
create table tasker.template_steps (
    template_id int not null references tasker.templates (template_id),
    position int not null,
    name text not null,
    parents int[] not null,
    children int[] not null,
    reads int[] not null,                    -- steps whose values the handler is given
    max_attempts int not null check (max_attempts >= 1),
    primary key (template_id, position)
);

create table tasker.tasks (
    task_uuid uuid primary key,
    template_id int not null,                -- no foreign key: templates are never deleted, and its check costs 15 % of a submit
    namespace text not null,
    state text not null constraint tasks_state check (state = any (array[
        'pending', 'initializing', 'enqueuing_steps', 'steps_in_process', 'evaluating_results',
        'waiting_for_dependencies', 'waiting_for_retry', 'blocked_by_failures', 'paused',
        'complete', 'error', 'cancelled', 'resolved_manually'])),
    state_since timestamptz not null,
    steps_total int not null,
    steps_done int not null default 0,       -- complete or resolved manually
    steps_active int not null default 0,     -- queued or running
    steps_retrying int not null default 0,   -- waiting for their backoff
    steps_failed int not null default 0,     -- in error
    rank bigint not null,                    -- microseconds: runnable since, less priority times the aging interval
    priority smallint not null default 0 check (priority between -100 and 100),
    context json not null,                   -- json, not jsonb: kept exactly as given
    tags text[] not null default '{}',
    identity_key text,
    correlation_id uuid not null,
    parent_correlation_id uuid,
    initiator text not null,
    source_system text not null,
    reason text not null,
    created_at timestamptz not null,
    start_at timestamptz,
    completed_at timestamptz
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0.05);
create unique index tasks_identity on tasker.tasks (identity_key) where identity_key is not null;

create table tasker.steps (
    step_uuid uuid primary key,
    task_uuid uuid not null,                 -- no foreign key: its check would lock the task once more for each step
    position int not null,                   -- order of creation within the task
    name text not null,
    template_step text not null,             -- differs from name for the workers of a batch
    state text not null constraint steps_state check (state = any (array[
        'pending', 'enqueued', 'in_progress', 'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration',
        'waiting_for_retry', 'complete', 'error', 'cancelled', 'resolved_manually'])),
    state_since timestamptz not null,
    waits_on int not null,                   -- parents not yet satisfied
    parents uuid[] not null,
    children uuid[] not null,
    reads uuid[] not null,
    attempts int not null default 0,         -- executions begun
    max_attempts int not null,
    worker text,                             -- holds the lease while in_progress
    msg_id bigint,                           -- in the queue while queued, leased or waiting for a due time
    retry_at timestamptz,
    took_ms double precision,
    inputs json,
    result json,
    error json,
    checkpoint json
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0.05);
create unique index steps_of_task on tasker.steps (task_uuid, name);

create table tasker.task_history (
    task_uuid uuid not null,
    from_state text,
    to_state text not null,
    at timestamptz not null,
    actor text,
    reason text
);
create index task_history_of_task on tasker.task_history (task_uuid);

create table tasker.step_history (
    task_uuid uuid not null,
    step_uuid uuid not null,
    from_state text not null,
    to_state text not null,
    at timestamptz not null,
    attempt int not null,
    worker text,
    took_ms double precision,
    error json,
    metadata json,
    actor text,
    reason text
);
create index step_history_of_task on tasker.step_history (task_uuid);
