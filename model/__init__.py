"""The words of the fleet as frozen dataclasses, and the reader of the inventory."""
