"""What takes room on the disk."""
