"""What one worker process may use."""

# Of one worker process, in bytes.
WORKER_MEMORY = 2 << 30

# For one picture; for one that is written and read again once for each edit.
PICTURE_SECONDS = 60.0
EDITING_SECONDS = 5 * PICTURE_SECONDS
