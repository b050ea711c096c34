"""Training data from the store: data sets, sampler, augmentation."""
