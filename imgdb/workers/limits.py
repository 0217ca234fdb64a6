"""What one worker process may use."""

# Of one worker process, in bytes.
WORKER_MEMORY = 2 << 30

# For one picture.
PICTURE_SECONDS = 60.0
