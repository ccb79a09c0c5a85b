"""What is in a data file, and would training learn from it?"""
