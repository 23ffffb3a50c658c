"""Full-batch minimisers with line searches or trust regions."""
