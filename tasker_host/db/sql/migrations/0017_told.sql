-- What hosts tell those who write to the database themselves: their limits, and whether they must be rung. One row.
create table tasker.host_settings (
    only_row boolean primary key default true check (only_row),
    context_max_bytes int not null,
    context_max_depth int not null,
    aging_interval interval not null,
    event_driven_until timestamptz              -- until when hosts that do not poll are taken to live
);
insert into tasker.host_settings (context_max_bytes, context_max_depth, aging_interval) values (1048576, 64, '300 seconds');
