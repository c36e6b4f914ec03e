-- What became of events, of all hosts together: added to by each of them every few seconds. For people: what it says may
-- lag behind, and loses the last seconds of a host that is killed; the messages themselves are exact.
create table tasker.event_ledger (
    namespace text not null,
    event_name text not null,
    publisher text not null,
    published bigint not null,
    declined bigint not null,
    failed bigint not null,
    last_error text,
    last_error_at timestamptz,
    last_at timestamptz not null,
    primary key (namespace, event_name, publisher)
) with (fillfactor = 70);
