"""The typed messages between stages. Imports nothing of ours."""
