"""PostgreSQL: the schema, its migrations, and the questions asked of it, one file per noun."""
