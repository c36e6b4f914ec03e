select * from tasker.claimed_rows($1)
