"""Running a trained network: engines, exported forms, int8, tiles, memory."""
