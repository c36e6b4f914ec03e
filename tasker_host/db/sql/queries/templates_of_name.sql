-- The current contents of the versions of a template, the highest version first.
select distinct on (v.number) template_id, version
from tasker.templates cross join lateral (select string_to_array(version, '.')::int[] as number) v
where namespace = $1 and name = $2
order by v.number desc, registered_at desc
