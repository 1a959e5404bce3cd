"""The write side: products and events validated, imported, stored."""
