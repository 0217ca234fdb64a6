"""Self-contained HTML pages: takes answers and thumbnails, gives the text of one file."""
