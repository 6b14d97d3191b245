"""The tests. One thread a process, for them and for all that they start: the processes of a run share out the cores."""

import os

# Said before numpy or torch is imported. With threads of their own the processes would wait for each other's, and a
# wait in OpenMP spins: on two cores that costs five times the work.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
