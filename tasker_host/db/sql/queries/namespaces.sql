select name from tasker.namespaces order by name
