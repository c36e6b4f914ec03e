-- The versions of a template, the highest first: JSON text, whatever a connection makes of JSON.
select tasker.template_versions($1::text, $2::text) as versions
