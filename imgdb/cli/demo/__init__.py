"""`imgdb demo`: a search among the example pictures, in a database of their own."""
