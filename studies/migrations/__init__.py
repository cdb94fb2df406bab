"""The history of our tables, as Alembic migrations that run without an alembic.ini."""
