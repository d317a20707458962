"""Training: what a run is made of, and functions that train it; nothing here knows estimators."""
