-- Checks of the tables that every call writes are read from their text by each statement anew. A list as one constant takes a third
-- of the time of a list of constants; what is copied from a template has been checked there.

alter table tasker.tasks
    drop constraint tasks_state,
    add constraint tasks_state check (state = any (
        '{pending,initializing,enqueuing_steps,steps_in_process,evaluating_results,waiting_for_dependencies,waiting_for_retry,blocked_by_failures,paused,complete,error,cancelled,resolved_manually}'));

alter table tasker.steps
    drop constraint steps_state,
    drop constraint steps_if_failed_check,
    add constraint steps_state check (state = any (
        '{pending,enqueued,in_progress,enqueued_for_orchestration,enqueued_as_error_for_orchestration,waiting_for_retry,complete,error,cancelled,resolved_manually}'));
