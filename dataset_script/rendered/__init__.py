"""Faces that are drawn, with expressions from action units."""
