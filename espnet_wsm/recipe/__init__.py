"""What the stages of a recipe share: what follows from their options, and how far their jobs are."""
