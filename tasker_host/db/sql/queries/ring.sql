-- Workers of these namespaces ($1) look at once.
select tasker.ring(variadic $1::text[])
