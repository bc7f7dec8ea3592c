"""The schema's migrations: plain SQL, run by alembic's API, only ever forwards."""
