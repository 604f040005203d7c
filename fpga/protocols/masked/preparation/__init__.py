"""How the two parties make the material of `masked` without a dealer."""
