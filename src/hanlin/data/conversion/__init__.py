"""How does one file of conversations become another format, and is nothing lost?"""
