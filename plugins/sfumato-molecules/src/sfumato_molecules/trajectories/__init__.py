"""Trajectories: points that move together, some frames given and others to come."""
