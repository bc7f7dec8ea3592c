"""Styles as they are drawn: without their colours where the terminal's owner wants none.

Textual turns colours into greys under NO_COLOR; red on a dark ground would hardly be seen.
"""

from rich.style import Style
from textual.widget import Widget


def paint(widget: Widget, base: Style, style: str | Style) -> Style:
    """Return a base with a style on top; the base is mostly the widget's `rich_style`, which is dear to ask for."""
    if not style:
        return base
    top = Style.parse(style) if isinstance(style, str) else style
    return base + (top.without_color if widget.app.no_color else top)
