"""The benchmark suite behind `gdnet bench`: where a network trains fastest, and how far each row is from its limit.

Each section is a function that yields rows (dictionaries of JSON types); `command` runs them, `summary` prints them.
"""
