"""What an error's text means: who failed, at which step, why, and what to do."""
