"""Speed and correctness under fire, against peers in the same run: ``python -m bench [NAME …]``."""
