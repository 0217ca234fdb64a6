"""`imgdb demo`: pictures painted by program, and a search among them in a database of their own."""
