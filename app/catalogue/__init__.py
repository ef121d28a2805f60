"""Labs and their theory as pages, and the form that starts a run."""
