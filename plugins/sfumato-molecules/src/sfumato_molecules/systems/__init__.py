"""Published systems of molecules and trajectories, each with its claim."""
