"""One Ray Serve class a file: gateway, search, recommendation, ranking, ingestion."""
