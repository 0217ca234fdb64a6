"""The database: takes a DSN or none, gives connections, collections, spaces and their care."""

# The oldest major version that imgdb works with: the first with bit_count and SQL function bodies
# that are parsed when they are made.
OLDEST_SERVER = 14
