"""Offline evaluation: hold-outs, ranking metrics, reference models, segments, intervals, reports."""
