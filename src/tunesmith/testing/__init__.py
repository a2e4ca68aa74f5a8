"""Conformance kits: what every plug-in of a room must do, as tests. Shipped for authors of plug-ins; needs pytest."""
