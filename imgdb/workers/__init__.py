"""Worker processes: takes orders to read files that nobody trusts, gives what became of each."""
