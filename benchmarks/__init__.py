"""How fast imgdb is, beside what else people search hashes with: see README.md here."""
