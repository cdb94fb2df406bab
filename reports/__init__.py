"""Reports: reads a study from its database, draws its figures and writes its page."""
