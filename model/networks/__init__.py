"""The generator, the discriminator and the moving average of a generator's weights."""
