"""Training: one loop, what it shows while it runs, and how it goes on after a break."""
