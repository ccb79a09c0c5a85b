"""How is a tuned model given away without its base, and made whole again?"""
