"""Duplicates: takes collections, gives groups, marks, plans, and files moved with proof."""
