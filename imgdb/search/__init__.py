"""Search: takes a picture, a hash or two pictures, gives the images that look alike."""
