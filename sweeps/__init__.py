"""From a spec to finished trials: the search space, samplers, workers, launchers and the command line."""
