"""psycopg_pool: its own threads connect in the background."""
from psycopg_pool import ConnectionPool

with ConnectionPool("", min_size=3, max_size=3) as pool:
    pool.wait(timeout=20)
    for number in range(5):
        with pool.connection() as conn:
            print(conn.execute("select %s::int", [number]).fetchone())
