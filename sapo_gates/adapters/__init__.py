"""Certified gates inside other people's trainers: one module each, which needs that trainer installed."""
