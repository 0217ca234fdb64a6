"""Hashes: takes pictures in grey, gives 64-bit hashes by recipes that never change."""
