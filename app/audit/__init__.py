"""Who did what that others should be able to see later."""
