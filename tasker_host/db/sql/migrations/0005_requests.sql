-- Tasks created from SQL, requests as messages, and identities that are taken for a time only.

alter table tasker.templates
    add column unique_for text generated always as (content ->> 'unique_for') stored,
    add column identity_strategy text generated always as (coalesce(content ->> 'identity_strategy', 'strict')) stored,
    add column has_input_schema boolean generated always as (content -> 'input_schema' is not null) stored;

-- Requests for tasks as messages, for whoever can only send one. Hosts read them; what cannot be carried out goes to the
-- archive of the queue, with the reason in its headers.
select pgmq.create('orchestration_task_requests');
