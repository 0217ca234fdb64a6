"""Completion of commands, options and names in bash, zsh and fish."""

SHELLS = ("bash", "zsh", "fish")

# Set by the shells' scripts (beside this file): answer what fits the words, and do nothing else.
VARIABLE = "_IMGDB_COMPLETE"
