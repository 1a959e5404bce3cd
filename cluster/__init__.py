"""How a cluster is made: the local launcher and the ``shortlist`` command. Imported by no other room."""
