"""SQLAlchemy: the queue pool with overflow, pre-ping, an invalidated connection, dispose."""
import sqlalchemy

engine = sqlalchemy.create_engine("postgresql+psycopg2://", pool_size=2, max_overflow=1, pool_pre_ping=True)
held = [engine.connect() for _ in range(3)]
for number, conn in enumerate(held):
    print(conn.execute(sqlalchemy.text("select :n"), {"n": number}).scalar())
held[0].invalidate()
for conn in held:
    conn.close()
with engine.begin() as conn:
    print(conn.execute(sqlalchemy.text("select 'again'")).scalar())
engine.dispose()
