"""How do a base and its adapters become one model?"""
