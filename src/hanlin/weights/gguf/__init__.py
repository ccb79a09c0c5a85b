"""How does a model become a file that llama.cpp runs?"""
