-- The current content of a template; the version registered last where $3 is null.
select template_id, content from tasker.templates
where namespace = $1 and name = $2 and ($3::text is null or version = $3)
order by registered_at desc limit 1
