-- What was meant by a template that there is not.
select tasker.template_hint($1::text, $2::text)
