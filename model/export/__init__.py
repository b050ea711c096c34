"""A trained generator as files for other programs, and its promotion."""
