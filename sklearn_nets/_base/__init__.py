"""What every net shares: parameters, the way from `fit` to a training run, tasks and inputs."""
