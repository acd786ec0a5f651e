"""What a model is worth: figures, their doubts, comparisons, pages about them."""
