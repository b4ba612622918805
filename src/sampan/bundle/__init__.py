"""Images across an air gap: an OCI layout made for carrying, whole or only what is missing."""
