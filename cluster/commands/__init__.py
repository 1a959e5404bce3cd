"""The commands of ``shortlist``, one a file."""
