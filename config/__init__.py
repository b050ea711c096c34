"""Settings, errors, the training recipe and the data set's configuration."""
