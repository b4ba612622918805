"""sampan brings container images to machines that a registry no longer reaches."""
