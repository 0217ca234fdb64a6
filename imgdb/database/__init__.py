"""The database: takes a DSN or none, gives connections, collections, spaces and their care."""
