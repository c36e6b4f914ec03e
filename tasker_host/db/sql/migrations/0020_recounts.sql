-- Changes of limits whose counts are to be looked at once more: who began before such a change knew nothing of it, and counted
-- nothing under it. A sweep does so when all of these have ended.
create table tasker.recounts (
    after xid8 not null,                     -- the transaction of the change
    at timestamptz not null
);
