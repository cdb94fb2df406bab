"""Alembic's entry: migrates over the connection that `studies.migrations.runner` passes in."""

from alembic import context

from studies.migrations.runner import is_ours, render_plain
from studies.tables import VERSION_TABLE, Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    include_object=is_ours,
    render_item=render_plain,
    compare_type=True,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
