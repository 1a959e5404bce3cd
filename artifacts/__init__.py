"""What training and serving must agree on: manifest, store, encoder, product text, index and factor formats."""
