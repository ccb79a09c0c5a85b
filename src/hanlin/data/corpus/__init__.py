"""Which texts become training tokens, and how are they cleaned, cut and written?"""
