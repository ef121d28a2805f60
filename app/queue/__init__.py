"""What waits, where and why."""
