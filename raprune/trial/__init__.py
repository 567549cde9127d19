"""How one trial goes: layer by layer decide, cut, fine-tune and commit, then measure once."""
