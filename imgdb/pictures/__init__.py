"""Pictures: takes any file, gives one upright picture in grey or colour, or the reason why not."""
