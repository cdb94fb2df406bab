"""What all tests share: one CPU thread a process, so that parallel tests do not fight for cores."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ.pop("RDSWEEP_STORAGE", None)
