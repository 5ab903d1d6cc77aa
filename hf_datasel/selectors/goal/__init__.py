"""What `GoalBuilder` is made of: its settings, the size of a subset, quotas, the staged fill, the report, the profiles."""
