"""Worker processes: takes tasks to read files that nobody trusts, gives what became of each."""
