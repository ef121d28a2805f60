"""Methods beside each other: one run each, equal budgets, one table and one picture."""
