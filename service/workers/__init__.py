"""The server's side of its model and parser processes."""
