"""Speed and memory, as ratios in one run. Never a test: the numbers depend on the machine."""
