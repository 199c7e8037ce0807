-- Words of names by first letter and length, so that a slip is compared with few of them.

alter table name_words
    add column initial text collate "C" not null generated always as (left(word, 1)) stored,
    add column letters integer not null generated always as (length(word)) stored;
create index name_words_shape on name_words (org, initial, letters);
