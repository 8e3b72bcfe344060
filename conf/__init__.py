"""What can be chosen. The yaml files are the registry; `check.py` refuses mistakes before they cost anything."""
