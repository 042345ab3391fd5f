"""What every service shares. Imports no service and no torch."""
