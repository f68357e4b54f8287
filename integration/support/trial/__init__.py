"""What the scripts of integration/ share, and what is needed to run them."""
