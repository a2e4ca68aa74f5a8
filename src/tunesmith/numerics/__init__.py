"""Numerical building blocks: arrays in, arrays out; nothing here knows about studies."""
