"""Lanes on a CPU: one network in each lane of the processor's vector registers."""
