-- Days that a run was asked to read and does not, each counted for an account, level and date basis.
alter table runs
    add column final_day_count int not null default 0,
    add column in_hand_day_count int not null default 0,
    add column unanswered_day_count int not null default 0;
