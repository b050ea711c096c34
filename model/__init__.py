"""The networks, their training, evaluation and export. Never imports Prefect.

Without imports, so that modules that need only a recipe do not load PyTorch.
"""
