"""How a cluster is made: the local launcher, its CLI and the demo."""
