"""Swarms of virtual peers under virtual time: the exchange's real protocol (`swarm.py`), and the coordinator's state
machine with the rounds' decisions for thousands (`crowd.py`).
"""
