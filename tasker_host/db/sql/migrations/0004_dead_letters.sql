-- Dead letters, deadlines, and what the sweep keeps in mind. Nothing here is written while a step succeeds.

alter table tasker.templates
    add column lifecycle json generated always as (content -> 'lifecycle') stored,
    add column max_duration interval generated always as (make_interval(secs => coalesce(
        (content #>> '{lifecycle,max_duration_seconds}')::float8,
        (content #>> '{lifecycle,max_duration_minutes}')::float8 * 60))) stored;
create index templates_max_duration on tasker.templates (max_duration) where max_duration is not null;

alter table tasker.tasks add column deadline_at timestamptz;

-- When tasks must have ended; a row for each task of a template with a longest duration, until that time.
create table tasker.deadlines (
    at timestamptz not null,
    task_uuid uuid not null,
    primary key (at, task_uuid)
);

-- Investigations: tasks that failed for good, or stopped moving. Never a queue: nothing is run from here.
create table tasker.dead_letters (
    dlq_entry_uuid uuid primary key,
    task_uuid uuid not null,
    namespace text not null,
    original_state text not null,            -- of the task when the entry was made
    dlq_reason text not null constraint dead_letters_reason check (dlq_reason = any (array[
        'staleness_timeout', 'max_retries_exceeded', 'dependency_cycle_detected', 'worker_unavailable', 'manual_dlq'])),
    dlq_timestamp timestamptz not null,
    resolution_status text not null default 'pending' constraint dead_letters_status check (resolution_status = any (array[
        'pending', 'manually_resolved', 'permanently_failed', 'cancelled'])),
    resolution_timestamp timestamptz,
    resolution_notes text,
    resolved_by text,
    task_snapshot json not null,
    metadata json,
    updated_at timestamptz not null
);
create unique index dead_letters_pending on tasker.dead_letters (task_uuid) where resolution_status = 'pending';
create index dead_letters_of_task on tasker.dead_letters (task_uuid, dlq_timestamp);
create index dead_letters_by_time on tasker.dead_letters (dlq_timestamp);

-- Tasks that failed a moment ago, to be looked at by the next sweep. Written by a trigger.
create table tasker.failures (task_uuid uuid not null);

-- Tasks that had not ended when the sweep met them, and when each is to be looked at again.
create table tasker.watches (
    task_uuid uuid primary key,
    look_at timestamptz not null
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
create index watches_by_time on tasker.watches (look_at, task_uuid);

-- How far through the tasks, in the order of their uuids, the sweep has come. Each walk reads each task once.
create table tasker.walks (
    name text primary key,
    position uuid not null
);

-- When the last sweep began: of many hosts, one takes each turn.
create table tasker.turns (
    name text primary key,
    at timestamptz not null
);

-- Tasks that ended, in the order of their ends: what retention takes away. Filled by a walk, only where it is wanted.
create table tasker.finished (
    namespace text not null,
    ended_at timestamptz not null,
    task_uuid uuid not null,
    primary key (namespace, ended_at, task_uuid)
);
create table tasker.finished_counts (
    namespace text primary key,
    tasks bigint not null
);

-- What retention took away with `action = "archive"`: each task one document.
create table tasker.archived_tasks (
    task_uuid uuid primary key,
    namespace text not null,
    ended_at timestamptz not null,
    archived_at timestamptz not null,
    document json not null
);
create index archived_tasks_by_end on tasker.archived_tasks (namespace, ended_at);
