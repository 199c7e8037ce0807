-- Findings of wholes: what the objects of a channel do together is told once, and theirs within it.

-- The insight that tells this one; empty where it is told for itself.
alter table insights add column whole_id text collate "C" not null default '';
create index insights_within on insights (org, whole_id) where whole_id <> '';
