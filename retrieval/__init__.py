"""Candidate generation: keyword, semantic, popularity, collaborative, fusion, hydration. I/O yes, Ray no."""
