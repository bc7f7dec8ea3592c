"""Runbooks: pages in Markdown, readable as they stand and run step by step, and the engine that runs them."""
