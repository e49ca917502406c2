"""psycopg2.pool: threads share connections, the pool grows beyond its minimum and is closed."""
import threading

from psycopg2.pool import ThreadedConnectionPool

pool = ThreadedConnectionPool(1, 4, "")
gate = threading.Barrier(4)
answers = []


def work(number):
    conn = pool.getconn()
    gate.wait(20)
    with conn.cursor() as cursor:
        cursor.execute("select %s", [number])
        answers.append(cursor.fetchone())
    conn.rollback()
    pool.putconn(conn)


threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sorted(answers))
pool.closeall()
