"""`imgdb serve`: takes HTTP requests, gives pages and JSON over what the rooms below do."""
