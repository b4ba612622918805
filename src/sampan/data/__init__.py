"""Facts that age, and translations: files that the package carries, each with its date or its language."""
