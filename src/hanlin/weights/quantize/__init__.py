"""How does a model become a smaller one that transformers runs, and what does it lose?"""
