"""`fleetward serve`: the daemon."""

from pathlib import Path

import click

from fleetward.model.errors import UsageError


@click.command()
@click.option("--embedded", is_flag=True, help="Run a PostgreSQL of its own, whatever address the settings name.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Settings from this file alone, and from FLEETWARD_SECTION_KEY.",
)
def serve(embedded: bool, config: Path | None) -> None:
    """Take alerts in, keep incidents, run runbooks: until SIGTERM.

    Where the settings name no database it runs a PostgreSQL of its own in the state folder. Exit code 3: the
    database is out of reach; 4: another daemon works on it.
    """
    import logging

    try:
        from fleetward.server.daemon import run_daemon
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("fleetward"):
            raise
        raise UsageError(f"{error.name} is not installed here: install `fleetward[server]`") from error
    from fleetward.model.settings import read_settings

    settings = read_settings(files=None if config is None else (config,))
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for name in ("alembic", "httpx", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)
    run_daemon(settings, embedded=embedded, announce=lambda text: click.echo(text, err=True))
