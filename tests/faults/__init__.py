"""Faults on purpose: kills at random moments, an error at every point that writes, and a race for the queue.

    make faults      (or: python -m tests.faults)

Nothing here is known to the product: faults are put into processes that these tests start.
"""
