"""The labs: what is taught, as code a student can read. Imports nothing of app or workers."""
