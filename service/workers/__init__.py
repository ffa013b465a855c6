"""The server's side of its processes: model workers and parsers."""
