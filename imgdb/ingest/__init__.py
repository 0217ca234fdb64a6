"""From files to rows: takes folders, files and archives, gives rows of images and failures."""
