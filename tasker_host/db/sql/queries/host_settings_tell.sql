-- The limits of this host, for tasks that are made in SQL.
select tasker.host_settings_tell($1, $2, $3)
