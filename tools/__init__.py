"""What the sessions of noxfile.py are made of. Knows nothing of nox: a session is anything that runs programs."""
