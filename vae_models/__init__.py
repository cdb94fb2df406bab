"""Networks, likelihoods, objective, schedules, the trainer, evaluation and data sets, in torch."""
