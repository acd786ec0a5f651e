"""What is wrong with a dataset: findings with their evidence, and a page to look at."""
