"""What must see the whole pool before it can score: returns a Scorer, never changes itself."""
