"""Every key of a screen and what the signs mean."""

from fleetward.tui.screens.dialog import Reading
from fleetward.tui.states import INCIDENTS, RUNS, SEVERITIES, STEPS, Look, job_look, node_look
from fleetward.tui.text import Line
from fleetward.tui.view import View
from fleetward.tui.widgets.chrome import TABS
from fleetward.tui.widgets.heatmap import LEGEND

_EVERYWHERE = (
    *((f"{title[0]} or {name[0]}", title[2:]) for name, title in TABS),
    ("esc", "back, or leave a field"),
    ("r", "refresh now"),
    ("q", "quit"),
)


class HelpScreen(Reading):
    """What `?` shows."""

    def __init__(self, view: View) -> None:
        super().__init__("Keys", lambda: lines(view))


def lines(view: View) -> list[Line]:
    """Return the help for one screen."""
    told: list[Line] = [(("Here", "bold underline"),)]
    told += [_key(key, word) for key, word in (*view.KEYS, *view.MORE_KEYS)]
    told += [(("", ""),), (("Everywhere", "bold underline"),)]
    told += [_key(key, word) for key, word in _EVERYWHERE]
    told += [(("", ""),), (("Signs", "bold underline"),)]
    told.append(
        _looks(
            "nodes", [node_look(state) for state in ("idle", "mixed", "allocated", "mixed+drain", "idle+drain", "down")]
        )
    )
    told.append(_looks("jobs", [job_look(state) for state in ("RUNNING", "PENDING", "COMPLETED", "FAILED")]))
    told.append(_looks("severity", list(SEVERITIES.values())))
    told.append(_looks("incident", list(INCIDENTS.values())))
    looks = list(RUNS.values())
    told += [_looks("run", looks[:4]), _looks("", looks[4:])]
    looks = list(STEPS.values())
    told += [_looks("step", looks[:4]), _looks("", looks[4:])]
    told.append((("  GPU        ", "dim"), (LEGEND, "")))
    return told


def _key(key: str, word: str) -> Line:
    return (f"  {key:<12}", "bold cyan"), (word, "")


def _looks(name: str, looks: list[Look]) -> Line:
    return (f"  {name:<11}", "dim"), *((f"{look}  ", look.style) for look in looks)
