"""Reading uploads from strangers; runs in the parser processes."""
