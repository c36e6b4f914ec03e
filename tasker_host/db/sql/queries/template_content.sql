-- The template of that content, as JSON text.
select tasker.template_content($1::text)
