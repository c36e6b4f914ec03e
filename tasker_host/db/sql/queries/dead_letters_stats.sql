select dlq_reason, total_entries, pending, manually_resolved, permanent_failures, cancelled, oldest_entry, newest_entry,
       avg_resolution_time_minutes
from tasker.v_dlq_dashboard order by total_entries desc, dlq_reason
