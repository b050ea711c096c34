"""Pairs from the store as tensors: data set, sampler, augmentation."""
