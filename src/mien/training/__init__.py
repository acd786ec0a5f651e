"""From random weights to a run and a file: networks, recipes at work, what comes of them."""
