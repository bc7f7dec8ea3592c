"""One file per area; each check is a declaration and a pure judgement of what one probe read."""
