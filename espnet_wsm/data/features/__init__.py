"""The features that the frozen layers give, stored."""
