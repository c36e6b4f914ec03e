-- Steps that ended because their worker vanished on the last attempt: no worker hands in that failure, so its events are
-- still to be built. A row is deleted by the transaction that sends them.
create table tasker.events_owed (
    step_uuid uuid not null,
    attempt int not null,
    error json not null,
    at timestamptz not null,
    primary key (step_uuid, attempt)
);
