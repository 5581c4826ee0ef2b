"""What prevents collapse: criteria over the whole gathered batch."""
