"""What the server's tests share: a mirror in memory and a client of raw bytes."""
