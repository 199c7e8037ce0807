"""A module in use: writers that change its tables in every way, abort, linger and move keys."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import asyncpg

from liftos_migration.adapters.source.connections import SourceConnections

WRITERS: Final = 8

_STATEMENTS: Final = """
insert into days values ('c{a}', {day}, '{c}', {c})
    on conflict (campaign, day) do update set spend = excluded.spend, clicks = excluded.clicks;
update days set spend = '{c}.25' where campaign = 'c{a}' and day = {day};
delete from days where campaign = 'c{a}' and day = {day};
update days d set campaign = 'c10{a}' where campaign = 'c{a}' and day = {day}
    and not exists (select from days e where e.campaign = 'c10{a}' and e.day = d.day);
insert into fetched (campaign, day, sent) values ('f{a}', {day}, {c});
update fetched set day = day + 1, sent = {c} where campaign = 'f{a}' and day = {day};
delete from fetched where campaign = 'f{a}' and day = {day} and sent % 2 = {c} % 2;
insert into models values ('m{a}', 'Model {b}', '{{"v": {c}}}')
    on conflict (id) do update set name = excluded.name, settings = excluded.settings;
delete from models where id = 'm{a}' and {b} % 3 = 0;
insert into model_parts values ('m{a}', {b} % 4, {c})
    on conflict (model, no) do update set weight = excluded.weight;
update model_parts set model = 'm{b}' where model = 'm{a}' and no = {c} % 4
    and not exists (select from model_parts where model = 'm{b}' and no = {c} % 4);
insert into remarks values ({a}, 'Title', 'Words {b} {c}')
    on conflict (id) do update set body = excluded.body;
update remarks set id = id + 5000 where id = {a}
    and not exists (select from remarks where id = {a} + 5000);
insert into rates values ({day}, 'EUR', 1 + {c} / 1000.0)
    on conflict (day, currency) do update set usd = excluded.usd;
insert into lists values ('k{a}', {b}, array['{c}'])
    on conflict (k) do update set v = excluded.v, tags = excluded.tags
"""
STATEMENTS: Final = tuple(_STATEMENTS.strip().split(";\n"))
"""What a writer does, each with three numbers and a day."""


@asynccontextmanager
async def writing(
    source: SourceConnections, *, seed: int = 1, truncates: bool = True
) -> AsyncIterator[None]:
    """Let writers write within the block; they end before it does."""
    stop = asyncio.Event()
    writers = [
        asyncio.create_task(_write(source, random.Random(f"{seed} {number}"), stop, truncates))
        for number in range(WRITERS)
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*writers)


async def _write(
    source: SourceConnections, chance: random.Random, stop: asyncio.Event, truncates: bool
) -> None:
    async with source.connect() as connection:
        await connection.execute("set lock_timeout = '5s'")
        while not stop.is_set():
            with suppress(asyncpg.DeadlockDetectedError, asyncpg.UniqueViolationError,
                          asyncpg.LockNotAvailableError):  # fmt: skip
                await _transaction(connection, chance, truncates)
            await asyncio.sleep(chance.uniform(0.0, 0.05))


async def _transaction(
    connection: asyncpg.Connection, chance: random.Random, truncates: bool
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    try:
        for _ in range(chance.randrange(1, 6)):
            inner = connection.transaction()
            await inner.start()
            b = chance.randrange(60)
            statement = chance.choice(STATEMENTS).format(
                a=chance.randrange(1, 30),
                b=b,
                c=chance.randrange(1000),
                day=f"date '2026-01-01' + {b}",
            )
            await connection.execute(statement)
            await (inner.rollback() if chance.random() < 0.2 else inner.commit())
        if truncates and chance.random() < 0.005:
            await connection.execute(f"truncate {chance.choice(('remarks', 'fetched'))}")
        if chance.random() < 0.05:
            await asyncio.sleep(chance.uniform(0.3, 1.5))
    except BaseException:
        await transaction.rollback()
        raise
    await (transaction.rollback() if chance.random() < 0.15 else transaction.commit())
