"""What the programs of ``./do soak`` share."""
