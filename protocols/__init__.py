"""What Cloister verifies: secure sums, clusterings, robust rules, privacy mechanisms, and the network under them."""
