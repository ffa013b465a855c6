"""Blocks in pure torch: convolutions, paddings, heads, recurrent cells."""
