"""psycopg 3 under asyncio: connections made side by side."""
import asyncio

import psycopg


async def work(number):
    async with await psycopg.AsyncConnection.connect("") as conn:
        cursor = await conn.execute("select %s::int", [number])
        return await cursor.fetchone()


async def main():
    print(await asyncio.gather(*[work(number) for number in range(4)]))


asyncio.run(main())
