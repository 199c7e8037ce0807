-- name: draw_documents
select document_id from documents
where org = :org and kind = any(:kinds)
order by md5(:seed || document_id), document_id limit :limit;
