"""What an operator starts. Read top to bottom, each flow tells its whole story."""
