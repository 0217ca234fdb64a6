"""Import and export: takes and gives tables of paths and hashes (CSV, Parquet)."""
