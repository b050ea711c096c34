"""The sketch-to-picture networks and their training. Never imports Prefect.

Empty, so that what needs a recipe alone does not wait for PyTorch.
"""
