"""Text for a terminal, on the screen and from commands: what is untrusted made harmless, lengths of time."""

import unicodedata

# Controls, invisible formatting (which can turn text around), lone surrogates, line and paragraph separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    """Return the text with whatever could move the cursor, change colours or break the line shown as an escape."""
    return "".join(_escaped(char) if unicodedata.category(char) in _UNSAFE else char for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def length(seconds: int | None) -> str:
    """Return a length of time as Slurm writes it: 93784 is `1-02:03:04`; no limit is `-`."""
    if seconds is None:
        return "-"
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return (f"{days}-" if days else "") + f"{hour:02d}:{minute:02d}:{second:02d}"
