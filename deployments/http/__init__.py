"""The HTTP face of the gateway: routes, validation, answers and problems. No I/O of its own, no Ray."""
