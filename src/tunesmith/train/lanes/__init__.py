"""Lanes: many trainings of one architecture as one program."""
