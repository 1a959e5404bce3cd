"""Jobs for the training cluster: events and products in, artifacts out."""
