-- Registers templates, given as parallel arrays; their ids in the same order.
select tasker.template_register(t.namespace, t.name, t.version, t.sha256, t.content, t.steps)
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::json[], $6::json[]) with ordinality
    as t (namespace, name, version, sha256, content, steps, position)
order by t.position
