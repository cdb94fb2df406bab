"""Spectra to test closed forms on: the golden one, and strategies of hypothesis."""

from hypothesis import strategies as st

GOLDEN = [5, 3.2, 2.1, 1.3, 0.8, 0.45, 0.2, 0.05]
EIGENVALUES = st.floats(0.01, 10)
SPECTRA = st.lists(EIGENVALUES, min_size=1, max_size=8)
SPECTRA_WITH_ZEROS = st.lists(st.one_of(EIGENVALUES, st.just(0.0)), min_size=1, max_size=8)
LEVELS = st.floats(0.005, 12)
LATENTS = st.integers(1, 10)
