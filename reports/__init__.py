"""What people look at: reports, comparisons, voting pages."""
