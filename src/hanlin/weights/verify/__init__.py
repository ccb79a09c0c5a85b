"""Is a checkpoint whole, finite, and made for its tokenizer?"""
