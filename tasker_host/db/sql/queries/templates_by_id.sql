select template_id, content from tasker.templates where template_id = any ($1::int[])
