"""The mirror's HTTP face: the pull half of the distribution API, health pages and metrics."""
