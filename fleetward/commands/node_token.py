"""`fleetward node-token`: the token by which a node reports to the daemon."""

import click

from fleetward.commands._daemon import not_installed, settings


@click.command("node-token")
@click.argument("node")
def node_token(node: str) -> None:
    """Print the token of a node, on the daemon's host and for who may read the daemon's key.

    It speaks for that node alone, and is the same each time. Exit code 2: there is no key, or it may not be read.
    """
    try:
        from fleetward.server.node_tokens import read_keys, token_of
    except ModuleNotFoundError as error:
        raise not_installed(error) from error
    found = settings()
    click.echo(token_of(node, read_keys(found.node_keys(), found.daemon.node_key_file)))
