"""The commands and pages of the documentation, and scripts that belong to no package."""
