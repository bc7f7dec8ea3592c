"""`fleetward config`: the settings that hold."""

import click

from fleetward.commands._daemon import document, json_option, settings
from fleetward.commands._table import echo_json, table


@click.group()
def config() -> None:
    """Show the settings of daemon, command and screen."""


@config.command()
@json_option
def show(as_json: bool) -> None:
    """Show every setting and where it came from; secrets are masked.

    Later ones win: defaults, /etc/fleetward/config.toml, the user's fleetward/config.toml below XDG_CONFIG_HOME,
    FLEETWARD_SECTION_KEY, options. A wrong setting ends this and every other command with exit code 2.
    """
    found = settings().all()
    if as_json:
        echo_json({"settings": [document(setting) for setting in found]})
    else:
        click.echo(table(("SETTING", "VALUE", "SOURCE"), [(one.name, _shown(one.value), one.source) for one in found]))


def _shown(value: object) -> str:
    return ":".join(map(str, value)) if isinstance(value, tuple) else str(value)
