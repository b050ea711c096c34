"""The generator, the discriminator, and the generator's exponential moving average."""
