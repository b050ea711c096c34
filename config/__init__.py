"""What every package needs: errors, settings, the training recipe, a data set's entry."""
