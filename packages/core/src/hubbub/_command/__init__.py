"""The command ``hubbub``: looks into running programs from outside."""
