"""Reports for people: pair-set reports, comparisons of checkpoints, voting pages."""
