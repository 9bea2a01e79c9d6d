"""What views are made of: what needs a person, payments on their way, sums, the state of the proof."""
