"""Classes: who is stuck, whose turn it is, lab sessions and limits."""
