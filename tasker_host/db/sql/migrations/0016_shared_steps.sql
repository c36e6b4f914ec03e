-- Steps that several decisions or analyzers have a say in, when one of these is run again.

alter table tasker.steps
    add column expansion json;                             -- what it said, of a decider whose steps others have a say in too

alter table tasker.tasks
    add column former_steps json;                          -- positions of steps that went, by name: made again they are the same
