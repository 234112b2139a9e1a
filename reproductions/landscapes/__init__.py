"""Surfaces of two parameters: the lecture's valley, a saddle, two minima."""
