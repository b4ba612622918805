"""Why an image does not arrive: checks, each a function that yields findings, and a verdict of them."""
