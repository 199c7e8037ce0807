-- name: claim_request^
insert into request_ids (org, method, request_id, payload_digest)
values (:org, :method, :request_id, :payload_digest)
on conflict do nothing
returning 1;

-- name: get_request^
select payload_digest, response from request_ids
where org = :org and method = :method and request_id = :request_id;

-- name: answer_request!
update request_ids set response = :response
where org = :org and method = :method and request_id = :request_id;
