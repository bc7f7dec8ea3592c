"""What alembic runs around the migrations; the connection comes from `upgrade`."""

from alembic import context

_LOCK = 0x666C6D69
"""Key of the advisory lock: of several that migrate at once, one does it and the others find it done."""

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="schema_version")
with context.begin_transaction():
    connection.exec_driver_sql("set local statement_timeout = 0")
    connection.exec_driver_sql(f"select pg_advisory_xact_lock({_LOCK})")
    context.run_migrations()
