"""Pairs of files to a table of scores: what `hdrcli evaluate` does."""
