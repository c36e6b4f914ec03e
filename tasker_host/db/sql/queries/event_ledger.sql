select namespace, event_name, publisher, published, declined, failed, last_error, last_error_at, last_at
from tasker.event_ledger where ($1::text is null or namespace = $1) order by namespace, event_name, publisher
