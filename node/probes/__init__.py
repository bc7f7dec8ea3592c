"""One file per source of facts about a node; each reads, and judges nothing."""
