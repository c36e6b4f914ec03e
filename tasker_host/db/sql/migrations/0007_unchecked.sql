-- Tasks that were made in SQL, where no input_schema can be checked. They are paused until a host has checked their context.
create table tasker.unchecked (
    task_uuid uuid primary key
);
