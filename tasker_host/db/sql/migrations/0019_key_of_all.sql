-- The business key of all steps of a task, which mostly is its only one: written once, and not with each version of each step.
-- `limit_keys` of a task are then null, and those of its steps; what is in them comes first.
alter table tasker.tasks add column limit_key text;
