"""Reading what a user names, and writing so that nothing is ever half there."""
