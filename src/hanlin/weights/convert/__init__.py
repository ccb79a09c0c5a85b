"""How does a checkpoint get from one layout to another, bit by bit the same?"""
