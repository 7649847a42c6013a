"""What a net is made of: θ and its views, cache and gradient of a pass, construction, stacks."""
