"""From facts that are known to texts that teach them."""
