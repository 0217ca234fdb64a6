"""Pictures painted by program: 13 scenes, five edits of each, and one more edit to search with."""
